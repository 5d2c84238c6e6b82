// A button that copies the command lines, where the browser lets a page do so.
(() => {
  if (!navigator.clipboard) return;
  document.querySelectorAll(".commands").forEach((part) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(part.querySelector("code").textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    part.append(button);
  });
})();
