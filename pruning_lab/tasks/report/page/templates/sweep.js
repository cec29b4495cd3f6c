"use strict";
// Draws the page's plots in the colors of its style sheet, hides methods, and leads from a point to its run's card.
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const hidden = new Map();
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

  const themed = (value, colors) => {
    if (typeof value === "string") return value.startsWith("var:") ? colors.getPropertyValue("--" + value.slice(4)).trim() : value;
    if (Array.isArray(value)) return value.map((item) => themed(item, colors));
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, colors)]));
    return value;
  };

  const sectionOf = (element) => element.closest("section.comparison");

  const draw = async (plot) => {
    const place = document.getElementById(plot.name);
    const colors = getComputedStyle(document.documentElement);
    const away = hidden.get(sectionOf(place).id) || new Set();
    const data = themed(plot.data, colors).map((trace) => ({ ...trace, visible: !away.has(trace.meta) }));
    await Plotly.react(place, data, themed(plot.layout, colors), config);
    if (!place.dataset.ready) {
      place.dataset.ready = "yes";
      place.on("plotly_click", (event) => {
        const anchor = event.points.map((point) => point.customdata).find((data) => typeof data === "string");
        if (anchor) location.hash = anchor;
      });
    }
  };
  const drawAll = () => plots.forEach(draw);

  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    document.querySelectorAll(".card.found").forEach((card) => card.classList.remove("found"));
    if (!target || !target.matches("details.card")) return;
    target.open = true;
    target.classList.add("found");
    target.scrollIntoView();
  };

  document.querySelectorAll("button.chip").forEach((chip) => chip.addEventListener("click", () => {
    const section = sectionOf(chip);
    const away = hidden.get(section.id) || new Set();
    const name = chip.dataset.method;
    away.has(name) ? away.delete(name) : away.add(name);
    hidden.set(section.id, away);
    chip.setAttribute("aria-pressed", String(!away.has(name)));
    plots.filter((plot) => section.contains(document.getElementById(plot.name))).forEach(draw);
  }));

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("hashchange", open);
  drawAll();
  open();
})();
