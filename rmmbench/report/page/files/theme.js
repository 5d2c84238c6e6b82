// Light or dark: what the system prefers, or what the reader chose, kept for the next page.
(() => {
  const KEY = "rmmbench-theme";
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  root.classList.add("js");

  const kept = () => {
    try { return localStorage.getItem(KEY); } catch { return null; }
  };
  const keep = (name) => {
    try { localStorage.setItem(KEY, name); } catch { /* a page may have no storage */ }
  };
  const shown = () => root.dataset.theme || (system.matches ? "dark" : "light");
  window.rmmbenchTheme = shown;

  if (["light", "dark"].includes(kept())) root.dataset.theme = kept();

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("button.theme");
    const tell = () => {
      button.textContent = shown() === "dark" ? "Light" : "Dark";
      button.setAttribute("aria-label", `Show this page in ${button.textContent.toLowerCase()} colours`);
      document.dispatchEvent(new CustomEvent("themechange"));
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = shown() === "dark" ? "light" : "dark";
      keep(root.dataset.theme);
      tell();
    });
    system.addEventListener("change", tell);
    tell();
  });
})();
