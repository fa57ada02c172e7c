// Steps and samplers side by side: one seed, a column for each number of steps, a row for each sampler, seconds under each.
Studio.rooms.steps = () => {
  const { t, h, put } = Studio;
  const COUNTS = [3, 5, 10, 20, 50, 100];
  const NAMES = Studio.samplers;
  const chosen = new Set([5, 10, 20, 50]);
  const used = new Set(NAMES.slice(0, 4));
  const bench = Studio.bench("steps");
  const files = Studio.saveLinks();
  const seed = h("input", { id: "steps_seed", type: "number", min: 0, step: 1, value: 0 });
  const boxes = new Map();
  const tick = (set, value, words, id) => {
    const box = h("input", { type: "checkbox", id, checked: set.has(value), onchange: () => (box.checked ? set.add(value) : set.delete(value)) });
    boxes.set(value, box);
    return h("label", { class: "tick" }, box, words);
  };
  const countTicks = h("fieldset", {}, h("legend", {}, t("steps.counts.title")), ...COUNTS.map((count) => tick(chosen, count, String(count), `steps_${count}`)));
  const samplerTicks = h("fieldset", {}, h("legend", {}, t("generation.sampler")), ...NAMES.map((name) => tick(used, name, t("generation.sampler." + name), `steps_${name}`)));
  const table = h("table", { class: "cells" });
  const go = h("button", { id: "steps_go", type: "button", class: "go" }, t("steps.go"));
  go.addEventListener("click", () => {
    files.show([]);
    const counts = COUNTS.filter((count) => chosen.has(count));
    const samplers = NAMES.filter((name) => used.has(name));
    const cells = {};
    const cell = (sampler, count) => {
      const image = h("img", { alt: t("steps.alt", { sampler: t("generation.sampler." + sampler), steps: count }) });
      const seconds = h("span", { class: "hint" });
      cells[`${sampler}/${count}`] = { image, seconds };
      return h("td", {}, Studio.squares(image), seconds);
    };
    const head = h("tr", {}, h("td"), ...counts.map((count) => h("th", { scope: "col" }, t("steps.column", { steps: count }))));
    const row = (sampler) => h("tr", {}, h("th", { scope: "row" }, t("generation.sampler." + sampler)), ...counts.map((count) => cell(sampler, count)));
    table.style.setProperty("--cell", counts.length > 4 ? "96px" : "128px");
    table.replaceChildren(h("tbody", {}, head, ...samplers.map(row)));
    bench.ask("steps", { seed: Studio.numberIn(seed), counts, samplers }, (told) => {
      (told.cells || []).forEach(({ sampler, steps, src, seconds, done }) => {
        const place = cells[`${sampler}/${steps}`];
        place.image.src = src;
        place.image.classList.toggle("unfinished", !done);
        put(place.seconds, done ? `${seconds.toFixed(2)} s` : "");
      });
      if (told.files) files.show(told.files);
    });
  });
  const element = h(
    "div",
    { class: "steps-room" },
    h("p", { class: "hint" }, t("mode.steps.why")),
    h("div", { class: "room-form" },
      h("label", { class: "field" }, t("generation.seed"), seed),
      countTicks,
      samplerTicks,
      go),
    bench.element,
    h("div", { class: "cells-scroll" }, table),
    files.element,
  );
  const recall = ({ seed: first, counts, samplers }) => {
    seed.value = first;
    // A number of steps that no box offers (a program may ask for any) gets one.
    counts.filter((count) => !COUNTS.includes(count)).forEach((count) => {
      COUNTS.push(count);
      countTicks.append(tick(chosen, count, String(count), `steps_${count}`));
    });
    COUNTS.sort((one, other) => one - other);
    for (const [group, values] of [[chosen, counts], [used, samplers]]) {
      group.clear();
      values.forEach((value) => group.add(value));
    }
    boxes.forEach((box, value) => (box.checked = chosen.has(value) || used.has(value)));
  };
  return { element, recall };
};
