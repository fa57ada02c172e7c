// The names that exist: nothing is asked about a run before it is known to be there.
Studio.knownRuns = [];
Studio.chosenRun = () => {
  const run = Studio.place.get("run");
  return Studio.knownRuns.includes(run) ? run : null;
};

// The list of runs: native radio buttons, so that arrow keys, focus and screen readers work by themselves.
Studio.runs = (element) => {
  const { t, h, put } = Studio;
  const root = element.querySelector(".runs");
  const list = h("div", { class: "runs-list", role: "radiogroup", "aria-label": t("runs.title") });
  const empty = h("p", { class: "empty", hidden: true }, t("runs.empty"));
  root.append(h("h2", {}, t("runs.title")), list, empty);
  const rows = new Map();
  let shown = null;

  const row = (run) => {
    const input = h("input", { type: "radio", name: "studio-run", value: run.name, onchange: () => Studio.place.set("run", run.name) });
    const picture = h("img", { alt: "", width: 48, height: 48, class: "pixels" });
    const parts = { input, picture, state: h("span", { class: "state" }), step: h("span", { class: "runs-step" }) };
    parts.label = h("label", { class: "run" }, input, picture, h("span", { class: "run-words" }, h("span", { class: "run-name", title: run.name }, run.name), h("span", { class: "run-line" }, parts.state, parts.step)));
    return parts;
  };

  const draw = (runs) => {
    empty.hidden = runs.length > 0;
    const names = runs.map((run) => run.name);
    for (const [name, parts] of rows) if (!names.includes(name)) (parts.label.remove(), rows.delete(name));
    runs.forEach((run, index) => {
      if (!rows.has(run.name)) rows.set(run.name, row(run));
      const parts = rows.get(run.name);
      parts.label.dataset.state = run.state;
      put(parts.state, t("state." + run.state));
      put(parts.step, run.step ? t("runs.step", { step: Studio.number(run.step) }) : "");
      if (run.thumbnail && parts.picture.getAttribute("src") !== run.thumbnail) parts.picture.src = run.thumbnail;
      if (list.children[index] !== parts.label) list.insertBefore(parts.label, list.children[index] || null);
    });
    Studio.knownRuns = names;
    // Nobody chose yet, or the choice is gone: show the newest.
    const told = Studio.chosenRun();
    if (!told) Studio.place.set("run", names[0] || "");
    else if (told !== shown) Studio.place.tell("run");
    shown = Studio.chosenRun();
    const chosen = Studio.place.get("run");
    for (const [name, parts] of rows) parts.input.checked = name === chosen;
  };

  const refresh = Studio.poll(root, 2000, async () => draw((await Studio.get("/studio/runs")).runs));
  Studio.place.watch("run", refresh);
};
