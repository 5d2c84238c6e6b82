// Draws the figures with plotly.js, in the page's colours, and as wide as the page has room for.
(() => {
  if (!window.Plotly) return;
  if (!window.DecompressionStream) {
    // A browser from before 2023: what stands in place of figures is for it, too.
    document.documentElement.classList.remove("js");
    return;
  }
  // Smaller than this their words cannot be read; then a figure is scrolled sideways. On a wide
  // screen nobody expects that.
  const leastScale = (width) => (width > 700 ? 0.5 : 0.7);
  // How much lighter than the page a colour must be to be seen on a dark one.
  const LEAST_CONTRAST = 3.2;
  const CONFIG = {
    displaylogo: false, showSendToCloud: false, responsive: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  const DARK_PAGE = [18, 21, 27];
  const DARK = {
    "#1f2430": "#e4e7ec", "#667085": "#9ba5b4", "#e6e8ec": "#2b323e", "#444": "#9ba5b4",
    "#2a3f5f": "#e4e7ec", "white": "#12151b", "#ffffff": "#12151b", "#fff": "#12151b",
  };
  const COLOR = /^(#[0-9a-f]{3}|#[0-9a-f]{6}|rgba?\([^)]*\)|white)$/i;

  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((each) => {
      const part = each / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (rgb) => (luminance(rgb) + 0.05) / (luminance(DARK_PAGE) + 0.05);

  const parsed = (color) => {
    if (color[0] === "#") {
      const hex = color.length === 4 ? [...color.slice(1)].map((each) => each + each).join("") : color.slice(1);
      return { rgb: [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)), alpha: 1 };
    }
    const numbers = color.match(/[\d.]+/g).map(Number);
    return { rgb: numbers.slice(0, 3), alpha: numbers.length > 3 ? numbers[3] : 1 };
  };

  const onDark = (color) => {
    const known = DARK[color.toLowerCase()];
    if (known) return known;
    const { rgb, alpha } = parsed(color);
    if (alpha === 0) return color;
    let mixed = rgb;
    for (let step = 1; step <= 20 && contrast(mixed) < LEAST_CONTRAST; step += 1) {
      mixed = rgb.map((each) => Math.round(each + ((255 - each) * step) / 20));
    }
    return `rgba(${mixed.join(",")},${alpha})`;
  };

  const recoloured = (value) => {
    if (typeof value === "string") return COLOR.test(value) ? onDark(value) : value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, recoloured(each)]));
    }
    return value;
  };

  const panels = new Map();
  const unpack = async (frame) => {
    const text = frame.parentElement.querySelector("script.panels").textContent;
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    panels.set(frame, await new Response(stream).text());
  };

  const draw = (frame, theme) => {
    const plot = frame.querySelector(".plot");
    const told = JSON.parse(panels.get(frame));
    const { data, layout } = theme === "dark" ? recoloured(told) : told;
    const paper = theme === "dark" ? "#12151b" : "#ffffff";
    const [color, activecolor] = theme === "dark" ? ["#9ba5b4", "#e4e7ec"] : ["#667085", "#1f2430"];
    const modebar = { bgcolor: "rgba(0,0,0,0)", color, activecolor };
    Object.assign(layout, { paper_bgcolor: paper, plot_bgcolor: paper, uirevision: "kept", modebar });
    window.Plotly.react(plot, data, layout, CONFIG);
    plot.dataset.theme = theme;
    // Who does not see them has the points in words below.
    plot.querySelectorAll("svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
    plot.querySelector(".modebar")?.setAttribute("aria-label", "Tools of this figure");
    // In print they are scaled by these, for the page is narrower than the screen.
    plot.querySelectorAll(".main-svg").forEach((svg) => {
      svg.setAttribute("viewBox", `0 0 ${frame.dataset.width} ${frame.dataset.height}`);
    });
  };

  const fit = (frame) => {
    const scale = Math.min(1, Math.max(leastScale(frame.clientWidth), frame.clientWidth / frame.dataset.width));
    const plot = frame.querySelector(".plot");
    plot.style.transform = scale < 1 ? `scale(${scale})` : "";
    frame.style.height = `${Math.ceil(frame.dataset.height * scale)}px`;
    frame.classList.toggle("tall", frame.dataset.height * scale > 3000);
    plot.style.marginRight = `${-Math.ceil(frame.dataset.width * (1 - scale))}px`;
    plot.style.marginBottom = `${-Math.ceil(frame.dataset.height * (1 - scale))}px`;
  };

  const frames = [...document.querySelectorAll(".plot-frame")];
  const all = (theme) => [...panels.keys()]
    .filter((each) => each.querySelector(".plot").dataset.theme !== theme)
    .forEach((each) => draw(each, theme));

  // One at a time, so that the page can be scrolled and read meanwhile.
  const later = (work) => (window.requestIdleCallback || setTimeout)(() => work());
  const rest = [...frames];
  const next = () => {
    const frame = rest.shift();
    if (!frame) {
      Object.assign(document.documentElement.dataset, { drawn: "all", drawnAt: Math.round(performance.now()) });
      return;
    }
    if (!frame.querySelector(".plot").dataset.theme) draw(frame, window.rmmbenchTheme());
    later(next);
  };
  const observer = new ResizeObserver((seen) => seen.forEach((each) => fit(each.target)));
  frames.forEach((frame) => { fit(frame); observer.observe(frame); });
  Promise.all(frames.map(unpack)).then(() => later(next));

  document.addEventListener("themechange", () => all(window.rmmbenchTheme()));
  window.addEventListener("beforeprint", () => all("light"));
  window.addEventListener("afterprint", () => all(window.rmmbenchTheme()));
  window.matchMedia("print").addEventListener("change", (event) => all(event.matches ? "light" : window.rmmbenchTheme()));
})();
