// Tables that are sorted by their headings and filtered by words; without this script they are whole.
(() => {
  const collator = new Intl.Collator("en", { numeric: true });
  const isLive = "live" in document.body.dataset;

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.querySelector(".none") ? "" : cell.textContent.trim();
    const value = cell.dataset.value;
    return { text, number: value === undefined ? null : Number(value) };
  };

  // Empty cells come last, whichever the direction.
  const compare = (one, other, sign) => {
    if (one.text === "" || other.text === "") return (one.text === "") - (other.text === "");
    if (one.number !== null && other.number !== null) return sign * (one.number - other.number);
    return sign * collator.compare(one.text, other.text);
  };

  const sortable = (table) => {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      if (!heading.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent.trim();
      heading.replaceChildren(button);
      const steps = heading.classList.contains("number")
        ? ["descending", "ascending", null]
        : ["ascending", "descending", null];
      button.addEventListener("click", () => {
        const next = steps[(steps.indexOf(heading.getAttribute("aria-sort")) + 1) % steps.length];
        headings.forEach((each) => each.removeAttribute("aria-sort"));
        const rows = [...original];
        if (next) {
          heading.setAttribute("aria-sort", next);
          const sign = next === "ascending" ? 1 : -1;
          rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column), sign));
        }
        table.classList.toggle("sorted", Boolean(next));
        body.append(...rows);
      });
    });
  };

  const filterable = (table) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 5) return;
    const bar = document.createElement("div");
    const label = document.createElement("label");
    const input = document.createElement("input");
    const count = document.createElement("span");
    bar.className = "filter";
    label.textContent = "Filter rows";
    input.type = "search";
    input.placeholder = "words of a row";
    input.setAttribute("aria-controls", table.id);
    count.setAttribute("role", "status");
    label.append(input);
    bar.append(label, count);
    table.closest(".scroll").before(bar);
    const texts = rows.map((row) => row.textContent.toLowerCase().replace(/\s+/g, " "));
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, index) => {
        row.hidden = !words.every((word) => texts[index].includes(word));
        shown += !row.hidden;
      });
      count.textContent = `${shown} of ${rows.length} rows`;
      if (isLive) sessionStorage.setItem(`filter-${table.id}`, input.value);
    };
    if (isLive) input.value = sessionStorage.getItem(`filter-${table.id}`) || "";
    input.addEventListener("input", apply);
    apply();
  };

  document.querySelectorAll("table.data").forEach((table) => {
    sortable(table);
    filterable(table);
  });
})();
