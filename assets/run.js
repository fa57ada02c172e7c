// One poll for everything that is told about the chosen run; numbers and film strip draw from it.
Studio.run = {
  details: null,
  listeners: [],
  watch: (listener) => {
    Studio.run.listeners.push(listener);
    listener(Studio.run.details);
  },
  tell: (details) => {
    Studio.run.details = details;
    Studio.run.listeners.forEach((listener) => listener(details));
  },
};

// The headline of a run: its name and state, one true sentence, and the numbers.
Studio.headline = (element) => {
  const { t, h, put } = Studio;
  const root = element.querySelector(".headline");
  const name = h("h2");
  const state = h("span", { class: "state" });
  const sentence = h("p", { class: "sentence", role: "status" });
  const keys = ["loss", "step", "epoch", "images", "speed", "time", "left", "device"];
  const numbers = Object.fromEntries(keys.map((key) => [key, h("dd")]));
  const facts = h("dl", { class: "facts" }, ...keys.map((key) => h("div", { "data-fact": key }, h("dt", {}, t("run.number." + key)), numbers[key])));
  root.append(h("div", { class: "headline-name" }, name, state), sentence, facts);

  const draw = (run) => {
    root.dataset.state = run ? run.state : "empty";
    put(name, run ? run.name : "");
    put(state, run ? t("state." + run.state) : "");
    put(sentence, run ? run.sentence : t("run.empty"));
    facts.hidden = !run;
    if (!run) return;
    put(numbers.loss, Studio.number(run.loss));
    put(numbers.step, `${Studio.number(run.step)} / ${Studio.number(run.total_steps)}`);
    put(numbers.epoch, `${Studio.number(run.epoch)} / ${Studio.number(run.epochs)}`);
    put(numbers.images, Studio.number(run.images));
    put(numbers.speed, Studio.number(run.images_per_second));
    put(numbers.time, Studio.duration(run.seconds));
    put(numbers.left, run.live ? Studio.duration(run.seconds_left) : "–");
    put(numbers.device, run.device || "–");
  };
  Studio.run.watch(draw);

  const refresh = Studio.poll(root, 1500, async () => {
    const chosen = Studio.chosenRun();
    if (!chosen) return Studio.run.tell(null);
    try {
      const details = await Studio.get("/studio/run/" + encodeURIComponent(chosen));
      if (chosen === Studio.chosenRun()) Studio.run.tell(details);
    } catch (error) {
      if (error.status !== 404) throw error;
      Studio.run.tell(null);
      put(sentence, t("run.gone"));
    }
  });
  Studio.place.watch("run", refresh);
};
