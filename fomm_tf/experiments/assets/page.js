"use strict";
(() => {
  const { study, questions } = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const total = questions.length;
  const video = at("clip");
  const STORE = `fomm-study/${study}`;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

  // What a reload must not lose. `position` is -1 before the first question and `total` at the end.
  const fresh = () => ({ participant: "", started: null, finished: null, position: -1, answers: {} });
  let state = fresh();
  let plan = null; // { order, mirrored }, of the participant
  let shownAt = 0;
  let drawn = -1;

  function load() {
    try {
      const kept = JSON.parse(localStorage.getItem(STORE));
      if (kept) state = { ...fresh(), ...kept };
    } catch {
      say("This browser keeps nothing for this page: do not close or reload it before you have saved your answers.");
    }
  }

  function keep() {
    try {
      localStorage.setItem(STORE, JSON.stringify(state));
    } catch {
      say("This browser keeps nothing for this page: do not close or reload it before you have saved your answers.");
    }
  }

  function say(text) {
    at("notice").textContent = text;
    at("notice").hidden = false;
  }

  // FNV-1a, then mulberry32: the same person sees the same order again.
  function random(seed) {
    let value = 2166136261;
    for (const part of seed) value = Math.imul(value ^ part.codePointAt(0), 16777619);
    return () => {
      value = (value + 0x6d2b79f5) | 0;
      let mixed = Math.imul(value ^ (value >>> 15), value | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  function makePlan() {
    const draw = random(`${study}/${state.participant}`);
    const order = questions.map((_, number) => number);
    for (let i = total - 1; i > 0; i--) {
      const j = Math.floor(draw() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    plan = { order, mirrored: draw() < 0.5 };
  }

  const asked = () => questions[plan.order[state.position]];
  const answered = () => Object.keys(state.answers).length;

  function show() {
    const { position } = state;
    const asking = position >= 0 && position < total;
    at("begin").hidden = position >= 0;
    at("ask").hidden = !asking;
    at("end").hidden = position < total;
    at("progress").hidden = position < 0;
    at("bar").max = total;
    at("bar").value = answered();
    if (asking) showQuestion();
    else video.pause();
    if (position >= total) showEnd();
  }

  function showQuestion() {
    const question = asked();
    const chosen = state.answers[question.id];
    const [height, width] = question.size;
    at("place").textContent = `Question ${state.position + 1} of ${total}`;
    at("source").src = question.source;
    for (const canvas of document.querySelectorAll("canvas")) {
      canvas.width = width;
      canvas.height = height;
    }
    at("left").setAttribute("aria-pressed", chosen?.side === "left");
    at("right").setAttribute("aria-pressed", chosen?.side === "right");
    at("back").disabled = state.position === 0;
    at("next").hidden = !chosen;
    URL.revokeObjectURL(video.src);
    // Not every browser plays a data URI; a blob they all do.
    const bytes = Uint8Array.from(atob(question.clip.split(",")[1]), (letter) => letter.charCodeAt(0));
    video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
    drawn = -1;
    play(!calm);
    shownAt = performance.now();
    at("question").focus({ preventScroll: true });
  }

  // Driving clip and both results are parts of one video, so that they cannot get out of step.
  function draw() {
    requestAnimationFrame(draw);
    if (at("ask").hidden || video.readyState < 2 || video.currentTime === drawn) return;
    drawn = video.currentTime;
    const [height, width] = asked().size;
    const parts = plan.mirrored ? [0, 2, 1] : [0, 1, 2];
    [at("driving"), ...document.querySelectorAll(".result canvas")].forEach((canvas, number) => {
      canvas.getContext("2d").drawImage(video, parts[number] * width, 0, width, height, 0, 0, width, height);
    });
  }

  function play(on) {
    if (on) video.play().catch(() => label());
    else video.pause();
    label();
  }

  function label() {
    at("play").textContent = video.paused ? "Play" : "Pause";
  }

  function choose(side) {
    const { id, choices } = asked();
    const choice = choices[(side === "right") !== plan.mirrored ? 1 : 0];
    const seconds = Math.round(performance.now() - shownAt) / 1000;
    state.answers[id] = { question: id, choice, side, seconds, time: new Date().toISOString() };
    go(state.position + 1);
  }

  function go(position) {
    state.position = Math.max(0, Math.min(total, position));
    if (state.position === total && answered() === total) state.finished ??= new Date().toISOString();
    keep();
    show();
  }

  function exported() {
    const { participant, started, finished } = state;
    const answers = plan.order.map((number) => state.answers[questions[number].id]).filter(Boolean);
    return JSON.stringify({ study, participant, started, finished, questions: total, answers }, null, 1);
  }

  function showEnd() {
    const left = total - answered();
    at("place").textContent = `${answered()} of ${total} answered`;
    at("end-title").textContent = left ? "Not all is answered yet" : "Thank you!";
    at("summary").textContent = left
      ? `${left} of ${total} questions are open. You can save what there is, or go back and answer them.`
      : "You have answered every question. Please save your answers, and send the file to whoever asked you.";
    at("answers").value = exported();
    at("end-title").focus();
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([exported()], { type: "application/json" }));
    link.download = `answers-${state.participant.replace(/[^\w-]+/g, "_")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  async function copy() {
    at("answers").select();
    try {
      await navigator.clipboard.writeText(exported());
      at("copy").textContent = "Copied";
    } catch {
      at("copy").textContent = document.execCommand("copy") ? "Copied" : "Copy the text below by hand";
    }
  }

  function begin(event) {
    event.preventDefault();
    const drawnId = () => Array.from(crypto.getRandomValues(new Uint32Array(2)), (n) => n.toString(36)).join("");
    state.participant = at("participant").value.trim() || drawnId();
    state.started = new Date().toISOString();
    makePlan();
    go(0);
  }

  function firstOpen() {
    const open = plan.order.findIndex((number) => !(questions[number].id in state.answers));
    return open < 0 ? total - 1 : open;
  }

  function reset() {
    if (!confirm("Delete these answers from this browser? Save them first.")) return;
    state = fresh();
    keep();
    at("participant").value = "";
    show();
  }

  const restart = () => {
    video.currentTime = 0;
    play(true);
  };
  const KEYS = {
    1: () => choose("left"),
    ArrowLeft: () => choose("left"),
    2: () => choose("right"),
    ArrowRight: () => choose("right"),
    Backspace: () => go(state.position - 1),
    " ": () => play(video.paused),
    r: restart,
  };

  document.addEventListener("keydown", (event) => {
    // A key that is held down shall not answer all that is left; a focused button has Space to itself.
    if (at("ask").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === " " && event.target.closest("button")) return;
    const action = KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  at("form").addEventListener("submit", begin);
  at("left").addEventListener("click", () => choose("left"));
  at("right").addEventListener("click", () => choose("right"));
  at("back").addEventListener("click", () => go(state.position - 1));
  at("next").addEventListener("click", () => go(state.position + 1));
  at("play").addEventListener("click", () => play(video.paused));
  at("restart").addEventListener("click", restart);
  at("stop").addEventListener("click", () => go(total));
  at("return").addEventListener("click", () => go(firstOpen()));
  at("save").addEventListener("click", save);
  at("copy").addEventListener("click", copy);
  at("reset").addEventListener("click", reset);
  video.addEventListener("play", label);
  video.addEventListener("pause", label);
  video.addEventListener("error", () => say("This browser cannot play the clips (H.264); please use another one."));

  load();
  if (state.position >= 0) makePlan();
  at("count").textContent = total === 1 ? "1 question" : `${total} questions`;
  at("participant").value = state.participant || new URLSearchParams(location.search).get("participant") || "";
  show();
  draw();
})();
