// A person's own pictures: a walk between two of them, the first one drawn anew from under noise, or a part of it filled in.
Studio.rooms.own = () => {
  const { t, h, put } = Studio;
  const bench = Studio.bench("own");
  const files = Studio.saveLinks();
  const keys = {};
  const slots = {}; // puts a picture that the studio has into each, or nothing

  // ---- two places to drop a picture into
  const slot = (name, title) => {
    const image = h("img", { alt: "" });
    const words = h("span", { class: "hint" }, t("own.drop"));
    const input = h("input", { id: `own_${name}`, type: "file", accept: "image/*" });
    const element = h("div", { class: "own-slot", "data-slot": name }, h("strong", {}, title), image, words, input, h("label", { class: "quiet", for: `own_${name}` }, t("own.choose")));
    let newest = 0; // counts what was put here: the answer to a small file may overtake that to an older, large one
    const lay = ({ key, src }, title) => {
      keys[name] = key;
      image.src = src;
      image.alt = title;
      put(words, title);
      if (name === "a") mask.over(src);
    };
    const empty = () => {
      delete keys[name];
      image.removeAttribute("src");
      put(words, t("own.drop"));
    };
    slots[name] = (picture) => {
      newest += 1;
      if (picture) lay(picture, t("own.original"));
      else empty();
    };
    const take = async (file) => {
      if (!file) return;
      const number = ++newest;
      try {
        const taken = await Studio.answer(await fetch("/studio/own", { method: "POST", body: file, cache: "no-store" }));
        if (number !== newest) return;
        lay(taken, file.name);
        bench.say("");
      } catch (error) {
        if (number === newest) bench.say(error.told ? error.message : t("action.failed"));
      }
    };
    input.addEventListener("change", () => {
      take(input.files[0]);
      input.value = ""; // the same file again is a choice, too
    });
    element.addEventListener("dragover", (event) => {
      event.preventDefault();
      element.dataset.over = true;
    });
    element.addEventListener("dragleave", () => (element.dataset.over = false));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation(); // a picture of ours dropped elsewhere on the tab brings its settings back
      element.dataset.over = false;
      take(event.dataTransfer.files[0]);
    });
    return element;
  };

  // ---- what to do with them
  const TASKS = ["walk", "redraw", "fill"];
  const mask = Studio.mask();
  const number = (id, label, value, most) => {
    const input = h("input", { id, type: "number", min: 0, max: most, step: 1, value });
    return { input, field: h("label", { class: "field" }, label, input) };
  };
  const frames = number("own_frames", t("generation.frames"), 16, 48);
  const samples = number("own_samples", t("generation.samples"), 4, 9);
  const seed = number("own_seed", t("generation.seed"), 0);
  const strength = h("input", { id: "own_strength", type: "range", min: 0, max: 100, value: 50, step: 1 });
  const percent = h("output", { for: "own_strength" });
  const tell = () => put(percent, t("own.strength.value", { percent: strength.value }));
  strength.addEventListener("input", tell);
  tell();
  const strengthField = h("label", { class: "field" }, t("own.strength"), h("span", { class: "tick" }, strength, percent));
  const why = h("p", { class: "hint" });
  const go = h("button", { id: "own_go", type: "button", class: "go" });
  const tasks = TASKS.map((task) => h("button", { type: "button", class: "mode", "data-task": task, onclick: () => choose(task) }, t("own." + task)));
  let task = "walk";
  const second = slot("b", t("own.second"));
  const choose = (chosen) => {
    task = element.dataset.task = chosen;
    tasks.forEach((each) => each.setAttribute("aria-pressed", each.dataset.task === task));
    put(why, t(`own.${task}.why`));
    put(go, t(`own.go.${task}`));
    second.hidden = frames.field.hidden = task !== "walk";
    samples.field.hidden = seed.field.hidden = task === "walk";
    strengthField.hidden = task !== "redraw";
    mask.element.hidden = task !== "fill";
  };

  // ---- what comes of it
  const walk = Studio.walkView("own_walk");
  const errors = h("p", { class: "hint" });
  const original = Studio.squares(h("img", { alt: t("own.original") }));
  const made = Studio.pixelImage(480);
  made.id = "own_made";
  made.alt = t("own.result");
  const pair = h("div", { class: "own-result" }, h("figure", {}, original, h("figcaption", { class: "hint" }, t("own.original"))), h("figure", { class: "own-made" }, made, h("figcaption", { class: "hint" }, t("own.result"))));
  const result = h("div", { class: "own-made-of" });
  go.addEventListener("click", () => {
    files.show([]);
    const common = { a: keys.a, b: keys.b, seed: Studio.numberIn(seed.input), samples: Studio.numberIn(samples.input) };
    const asked = { walk: { frames: Studio.numberIn(frames.input) }, redraw: { strength: strength.value / 100 }, fill: { mask: mask.text() } }[task];
    if (task !== "walk") original.removeAttribute("src");
    bench.ask(`own-${task}`, { ...common, ...asked }, (told) => {
      if (told.frames) {
        walk.show({ walk: { frames: told.frames, a: t("own.first"), b: t("own.second"), alt: t("own.walk"), named: true } });
        const [first, second] = told.errors;
        put(errors, t("own.errors", { first: first.mean, first_db: first.psnr, second: second.mean, second_db: second.psnr }));
        result.replaceChildren(walk.element, errors);
      }
      if (told.src) {
        made.src = told.src;
        if (told.original) original.src = told.original;
        if (result.firstChild !== pair) result.replaceChildren(pair);
      }
      if (told.files) files.show(told.files);
    });
  });

  const size = () => {
    const model = (Studio.models.list || []).find(([key]) => key === Studio.how.values.model);
    if (model) mask.resize(model[1]);
  };
  Studio.how.watch(size);
  Studio.models.watch(size);
  const element = h(
    "div",
    { class: "own-room" },
    h("div", { class: "modes own-tasks" }, ...tasks),
    why,
    h("div", { class: "own-slots" }, slot("a", t("own.first")), second),
    h("p", { class: "hint" }, t("own.kept")),
    mask.element,
    h("div", { class: "room-form" }, strengthField, samples.field, seed.field, frames.field, go),
    bench.element,
    result,
    files.element,
  );
  choose("walk");
  const recall = (settings) => {
    choose(settings.task);
    for (const [name, { input }] of Object.entries({ frames, samples, seed })) if (settings[name] !== undefined) input.value = settings[name];
    if (settings.strength !== undefined) strength.value = settings.strength;
    tell();
    Object.entries(slots).forEach(([name, put]) => put(settings[name])); // one that is not here is not another one
    if (task === "fill") mask.set(settings.mask || "0".repeat(settings.side ** 2));
  };
  return { element, enter: size, recall };
};
