// While records come the page loads itself again, unless the reader is busy with it or stops that.
(() => {
  const SECONDS = 5;
  let isPaused = sessionStorage.getItem("paused") === "yes";
  const bar = document.createElement("div");
  const text = document.createElement("span");
  const button = document.createElement("button");
  bar.className = "live";
  button.type = "button";
  const tell = () => {
    text.textContent = isPaused ? "Records come; paused" : "Drawn again as records come";
    button.textContent = isPaused ? "Go on" : "Pause";
    sessionStorage.setItem("paused", isPaused ? "yes" : "no");
  };
  button.addEventListener("click", () => { isPaused = !isPaused; tell(); });
  bar.append(text, button);
  document.body.append(bar);
  tell();
  setInterval(() => {
    const isBusy = document.activeElement?.matches("input") || String(getSelection());
    if (!isPaused && !isBusy && !document.hidden) location.reload();
  }, 1000 * SECONDS);
})();
