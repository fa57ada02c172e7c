// One switch: the studio's own run is paused while its pictures are explored. The studio lets it go on when it has not heard of this
// page for a minute; a reload is no end, so the page's name in this matter outlives one.
Studio.hold = (element) => {
  const { t, h, put } = Studio;
  const root = element.querySelector(".hold");
  const me = sessionStorage.getItem("holder") || crypto.randomUUID();
  sessionStorage.setItem("holder", me);
  const box = h("input", { id: "hold_training", type: "checkbox", role: "switch", disabled: true, "aria-describedby": "hold_why" });
  const why = h("p", { id: "hold_why", class: "hint", role: "status" });
  root.append(h("label", { class: "tick" }, box, t("hold.name")), why);

  let mine = sessionStorage.getItem("holding") === "1";
  let asked = 0; // when it was last switched: a status from before that says nothing about it
  let problem = "";

  const reason = (run) => {
    if (!run?.name || !run.live) return t("hold.idle");
    if (!run.mine) return t("action.disabled.elsewhere");
    if (run.state === "preparing") return t("action.disabled.preparing");
    if (run.state === "paused" && !run.held && !mine) return t("hold.paused");
    return "";
  };
  const draw = (run) => {
    if (mine && run && !run.held && Date.now() - asked > 3000) set(false); // it ended, or somebody unpaused it
    const cannot = reason(run);
    box.disabled = Boolean(cannot);
    box.checked = mine && !cannot;
    root.dataset.on = box.checked;
    put(why, cannot || problem || t(mine ? "hold.on" : "hold.off", { run: run.name }));
  };
  const set = (now) => {
    mine = now;
    sessionStorage.setItem("holding", now ? "1" : "0");
  };
  const say = async (what) => {
    try {
      const { held } = await Studio.post(`/studio/hold/${what}/${me}`);
      set(held);
      problem = "";
    } catch (error) {
      if (what === "beat") return; // the studio may be restarting: the next one tells
      set(false);
      problem = error.message;
    }
    draw(Studio.now.status);
  };
  box.addEventListener("change", () => {
    asked = Date.now();
    set(box.checked);
    say(box.checked ? "on" : "off");
  });
  setInterval(() => mine && say("beat"), 10_000);
  if (mine) say("beat");
  Studio.now.watch(draw);
};
