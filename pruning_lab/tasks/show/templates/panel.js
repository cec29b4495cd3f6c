(() => {
  "use strict";
  const at = (id) => document.getElementById("try-" + id);
  const { runs, chosen } = JSON.parse(at("data").textContent);
  let file = null, shown = null, asked = 0, waiting = null;

  const make = (tag, text, parent) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };
  const say = (text, bad = false) => { at("state").textContent = text; at("state").className = bad ? "bad" : "quiet"; };
  const percent = (share) => (100 * share).toFixed(1) + " %";
  const run = () => (chosen === null ? Number(at("run").value) : chosen);
  const step = () => runs[run()].steps[Number(at("step").value)];

  function chooseRun() {
    const steps = runs[run()].steps;
    const kept = steps.findIndex((each) => each.label.endsWith("(kept)"));
    at("step").max = steps.length - 1;
    at("step").value = kept < 0 ? steps.length - 1 : kept;
    at("step-choice").hidden = steps.length < 2;
    tellStep();
  }
  function tellStep() {
    at("step-label").textContent = step().label;
    at("step").setAttribute("aria-valuetext", step().label);
  }

  function figure(title, address, parent) {
    const place = make("figure", undefined, parent);
    make("figcaption", title, place);
    const picture = make("img", undefined, place);
    picture.src = address;
    picture.alt = title;
    return place;
  }
  function keys(list, parent) {
    const place = make("ul", undefined, parent);
    place.className = "keys";
    for (const each of list) {
      const item = make("li", undefined, place);
      make("i", undefined, item).style.background = each.color;
      item.append(each.name);
    }
  }
  function numbers() {
    const table = make("table", undefined, at("numbers"));
    const head = make("tr", undefined, make("thead", undefined, table));
    for (const text of ["model", "time", ...shown.classes.map((each) => each.name)]) make("th", text, head);
    const body = make("tbody", undefined, table);
    for (const model of shown.models) {
      const row = make("tr", undefined, body);
      make("td", model.name, row);
      make("td", model.milliseconds.toFixed(1) + " ms", row);
      for (const share of model.shares) make("td", percent(share), row);
    }
  }
  function draw() {
    for (const id of ["sides", "keys", "numbers"]) at(id).replaceChildren();
    if (shown === null) return;
    const [height, width] = shown.size;
    figure(`image, ${width} x ${height}`, shown.image, at("sides"));
    for (const model of shown.models) {
      const title = `${model.name}: ${model.milliseconds.toFixed(1)} ms`;
      figure(title, at("masks").checked ? model.mask : model.overlay, at("sides"));
    }
    keys(shown.classes, at("keys"));
    if (shown.difference) {
      const title = `they differ: ${percent(1 - shown.agreement)}`;
      keys(shown.legend, figure(title, shown.difference, at("sides")));
    }
    numbers();
  }

  async function ask() {
    if (file === null) return;
    const number = ++asked;
    if (waiting) waiting.abort();
    waiting = new AbortController();
    say(`${file.name}: predicting`);
    try {
      const query = new URLSearchParams({ run: run(), step: step().step, name: file.name });
      const reply = await fetch(`/predict?${query}`, { method: "POST", body: file, signal: waiting.signal });
      const told = await reply.json().catch(() => ({ error: `the server failed (${reply.status}); see its console` }));
      if (number !== asked) return;
      shown = told.error ? null : told;
      const more = told.pages > 1 ? `, the first of ${told.pages} images in it` : "";
      const lone = told.models && told.models.length < 2 ? "; the base is not kept any more" : "";
      say(told.error || `${file.name}${more}: medians of predictions in turns, and each class's share of pixels${lone}`, Boolean(told.error));
    } catch (error) {
      if (number !== asked || error.name === "AbortError") return;
      shown = null;
      say("the server does not answer: was it ended, or is the file too large?", true);
    }
    draw();
  }
  function take(files) {
    if (!files.length) return;
    file = files[0];
    ask();
  }

  runs.forEach((each, place) => { make("option", each.title, at("run")).value = place; });
  at("run-choice").hidden = chosen !== null || runs.length < 2;
  chooseRun();
  at("run").addEventListener("change", () => { chooseRun(); ask(); });
  at("step").addEventListener("input", tellStep);
  at("step").addEventListener("change", ask);
  at("masks").addEventListener("change", draw);
  at("file").addEventListener("change", () => take(at("file").files));
  // An image that misses the frame must not take the page's place.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  document.addEventListener("dragover", () => at("drop").classList.add("over"));
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => at("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => take(event.dataTransfer.files));
})();
