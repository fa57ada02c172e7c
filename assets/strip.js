// The strip above the tabs: what is training, how far it is, and the only Sample now, Pause, Finish and Stop of the page.
Studio.strip = (element) => {
  const { t, h, put } = Studio;
  const root = element.querySelector(".strip");
  const name = h("strong", { class: "strip-name" });
  const state = h("span", { class: "state", role: "status" });
  const note = h("span", { class: "strip-note" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("strip.progress") });
  const numbers = Object.fromEntries(["step", "epoch", "speed", "left", "loss", "device", "memory"].map((key) => [key, h("dd")]));
  const facts = h("dl", { class: "facts" }, ...Object.entries(numbers).map(([key, value]) => h("div", { "data-fact": key }, h("dt", {}, t("strip." + key)), value)));
  const button = (key) => h("button", { type: "button", class: "quiet", disabled: true, onclick: () => act(key) }, t("action." + key));
  const buttons = { sample: button("sample"), pause: button("pause"), finish: button("finish"), stop: button("stop") };
  const message = h("p", { class: "strip-message", role: "alert" });
  root.append(
    h("h1", { class: "unseen" }, t("app.title")),
    h("div", { class: "strip-head" }, name, state, note, h("div", { class: "strip-actions" }, ...Object.values(buttons))),
    bar,
    facts,
    message,
  );

  // "1.2 of 8 GB, 93 % busy"
  const usage = ({ memory, memory_total, busy }) => {
    const [used, all] = [memory, memory_total].map((bytes) => Studio.number(bytes / 2 ** 30, 2));
    return t(busy === null ? "strip.memory.used" : "strip.memory.busy", { used, all, busy: Math.round(100 * busy) });
  };

  let status = null;
  let pending = null; // what was asked for and in which state, until the studio's answer shows that it happened

  const why = (key) => {
    if (!status || !status.name || !status.live) return t("action.disabled.idle");
    if (!status.mine) return t("action.disabled.elsewhere");
    if (pending) return t("action.disabled.pending");
    if (status.state === "preparing") return t("action.disabled.preparing");
    return t("action.disabled.paused");
  };

  const draw = () => {
    const run = status && status.name ? status : null;
    const held = run !== null && run.state === "paused";
    root.dataset.state = run ? run.state : "empty";
    put(name, run ? run.name : status ? t("strip.empty") : "");
    put(state, run ? t("state." + run.state) : "");
    put(note, run ? (run.live && !run.mine ? t("strip.elsewhere") : run.message || "") : "");
    facts.hidden = bar.hidden = !run;
    if (run) {
      if (run.state === "preparing" && !run.step) bar.removeAttribute("value");
      else bar.value = run.total_steps ? run.step / run.total_steps : 0;
      put(numbers.step, `${Studio.number(run.step)} / ${Studio.number(run.total_steps)}`);
      put(numbers.epoch, `${Studio.number(run.epoch)} / ${Studio.number(run.epochs)}`);
      put(numbers.speed, run.live ? Studio.number(run.images_per_second) : "–");
      put(numbers.left, run.live ? Studio.duration(run.seconds_left) : "–");
      put(numbers.loss, Studio.number(run.loss));
      put(numbers.device, run.device || "–");
      put(numbers.memory, run.live && run.memory_total ? usage(run) : "–");
    }
    for (const [key, button] of Object.entries(buttons)) {
      const action = key === "pause" && held ? "unpause" : key;
      const can = Boolean(run && run.can.includes(action)) && !(pending && pending.key === key);
      put(button, t("action." + action));
      button.disabled = !can;
      button.title = can ? t(`action.${action}.why`) : why(key);
      button.dataset.pending = Boolean(pending && pending.key === key);
    }
  };

  const act = async (key) => {
    const action = key === "pause" && status.state === "paused" ? "unpause" : key;
    pending = { key, state: status.state, until: Date.now() + 4000 };
    put(message, "");
    draw();
    try {
      await Studio.post("/studio/" + action);
    } catch (error) {
      pending = null;
      put(message, error.message);
    }
    if (key === "sample") pending = null;
    refresh();
  };

  const refresh = Studio.poll(root, 1000, async () => {
    try {
      status = await Studio.get("/studio/status");
      Studio.now.set(status);
      if (message.dataset.offline) put(message, "");
      delete message.dataset.offline;
    } catch (error) {
      put(message, t("strip.offline"));
      message.dataset.offline = true;
    }
    if (pending && (!status || status.state !== pending.state || Date.now() > pending.until)) pending = null;
    draw();
  });
};
