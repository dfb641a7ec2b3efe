(() => {
  const PER_PAGE = 24;
  const CONDITIONS = ["M", "T", "A", "V", "AT", "VT", "AV"];
  const NAMES = { M: "all three", T: "text", A: "audio", V: "silent video", AT: "audio + text", VT: "video + text", AV: "audio + video" };
  const CLASS_ORDER = ["SN", "NG", "WN", "NU", "WP", "PS", "SP"];
  const cases = JSON.parse(document.getElementById("case-data").textContent);
  const previews = new Map([...document.querySelectorAll("script.preview")].map((one) => [one.dataset.id, one]));
  const at = (id) => document.getElementById(id);
  let page = 0;
  let urls = [];

  // Everything that users wrote goes through textContent: nothing in it is markup.
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const option = (value, text) => { const made = element("option", text); made.value = value; return made; };
  const number = (value) => (value === undefined ? "–" : value.toFixed(2));

  const present = CONDITIONS.filter((name) => cases.some((one) => one.truth?.[name] !== undefined || one.pred?.[name] !== undefined));
  for (const name of present) at("condition").append(option(name, `${name} – ${NAMES[name]}`));
  const known = new Set(cases.flatMap((one) => Object.values(one.class ?? {})));
  for (const name of CLASS_ORDER.filter((one) => known.has(one))) at("class").append(option(name, name));
  for (const name of [...new Set(cases.map((one) => one.split).filter(Boolean))].sort()) at("split").append(option(name, name));
  const shows = {
    look: ["to look at", (one) => one.look],
    wrong: ["wrong in the condition", (one) => one.wrong?.includes(at("condition").value)],
    anywrong: ["wrong anywhere", (one) => one.wrong?.length],
    conflict: ["T, A, V in conflict", (one) => one.conflict],
    failed: ["failed or incomplete", (one) => one.why],
    clip: ["with a clip to watch", (one) => one.clip || one.link],
    people: ["with several people", (one) => one.time?.people?.length > 1],
  };
  for (const reason of [...new Set(cases.flatMap((one) => one.look ?? []))].sort()) {
    shows[`look-${reason}`] = [`to look at: ${reason}`, (one) => one.look?.includes(reason)];
  }
  for (const [name, [text, test]] of Object.entries(shows)) {
    const some = name === "wrong" ? cases.some((one) => one.wrong?.length) : cases.some(test);
    if (some) at("show").append(option(name, text)); else delete shows[name];
  }
  shows.marked = ["marked here", (one) => marks[one.id]];
  at("show").append(option("marked", "marked here"));
  if (cases.some((one) => one.error !== undefined)) at("order").append(option("error", "largest error of M first"));
  if (cases.some((one) => one.apart !== undefined)) at("order").append(option("apart", "T, A, V furthest apart first"));
  for (const name of ["condition", "class", "split"]) {
    if (at(name).options.length < 2 - (name === "condition")) at(name).closest("label").hidden = true;
  }

  const chosen = () => {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const show = shows[at("show").value]?.[1];
    const condition = at("condition").value, klass = at("class").value, split = at("split").value, order = at("order").value;
    const found = cases.filter((one) => {
      if (show && !show(one)) return false;
      if (klass && one.class?.[condition] !== klass) return false;
      if (split && one.split !== split) return false;
      const text = `${one.id} ${one.text ?? ""} ${one.why ?? ""}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    if (order !== "id") found.sort((a, b) => (b[order] ?? -1) - (a[order] ?? -1));
    return found;
  };

  const blobUrl = (id) => {
    const bytes = Uint8Array.from(atob(previews.get(id).textContent), (one) => one.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
    urls.push(url);
    return url;
  };

  // The transcript, with a span for each word whose time is known.
  const transcript = (one) => {
    const line = element("p", undefined, one.text ? "said" : "said note");
    const text = one.text ?? "no transcript";
    let at = 0;
    for (const [word, from, to] of one.time?.words ?? []) {
      const found = text.toLowerCase().indexOf(word.toLowerCase(), at);
      if (found < 0) continue;
      line.append(text.slice(at, found));
      const span = element("span", text.slice(found, found + word.length), "word");
      Object.assign(span.dataset, { from, to });
      line.append(span);
      at = found + word.length;
    }
    line.append(text.slice(at));
    return line;
  };

  // Where the speaker's face is at a time: between two samples that are close, on the way from one to the other.
  const boxAt = (boxes, time) => {
    let before = -1;
    for (let k = 0; k < boxes.length && boxes[k][0] <= time; k += 1) before = k;
    if (before < 0) return null;
    const [first, next] = [boxes[before], boxes[before + 1]];
    if (!next || next[0] - first[0] > 0.3) return time - first[0] < 0.25 ? first.slice(1) : null;
    const share = (time - first[0]) / (next[0] - first[0]);
    return first.slice(1).map((value, k) => value + share * (next[k + 1] - value));
  };

  const svg = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const seconds = (spans) => spans.map(([from, to]) => `${from.toFixed(1)} to ${to.toFixed(1)} s`).join(", ");

  // Shots, people and the speaker, one row each, over the clip's time.
  const timeline = (one) => {
    const { length, shots = [], people = [], speaker = [] } = one.time;
    const rows = [
      ["shots", shots.map((from, k) => [from, shots[k + 1] ?? length]), "shot"],
      ...people.map(([number, spans]) => [`person ${number}`, spans, "person"]),
      [`speaker${one.speaker ? ` (${one.speaker})` : ""}`, speaker, "speaker"],
    ].filter(([, spans]) => spans.length);
    const box = element("div", undefined, "timeline");
    for (const [name, spans, kind] of rows) {
      box.append(element("span", name));
      const words = `${name}: ${seconds(spans)}`;
      const bar = svg("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": words });
      for (const [from, to] of spans) {
        const [x, width] = [(1000 * from) / length, Math.max(2, (1000 * (to - from)) / length - 2)];
        bar.append(svg("rect", { x, y: 1, width, height: 8, class: kind }));
      }
      bar.append(svg("line", { x1: 0, x2: 0, y1: 0, y2: 10, class: "now" }));
      box.append(bar);
    }
    box.append(element("span", ""), element("span", `0 to ${length.toFixed(1)} s`, "axis"));
    return box;
  };

  // Moves the box over the video, the line in the timeline and the word that is spoken with the video's time.
  const accompany = (one, video, item) => {
    const start = one.clip ? 0 : one.start ?? 0;
    const face = item.querySelector(".face");
    const lines = [...item.querySelectorAll(".timeline .now")];
    const bars = [...item.querySelectorAll(".timeline svg")];
    const words = [...item.querySelectorAll(".word")];
    const update = () => {
      const time = video.currentTime - start;
      const box = face && video.videoWidth ? boxAt(one.time.boxes, time) : null;
      if (face) face.hidden = !box;
      if (box) {
        const scale = Math.min(video.clientWidth / video.videoWidth, video.clientHeight / video.videoHeight);
        const [width, height] = [video.videoWidth * scale, video.videoHeight * scale];
        const [left, top] = [(video.clientWidth - width) / 2, (video.clientHeight - height) / 2];
        face.style.left = `${left + (box[0] * width) / 1000}px`;
        face.style.top = `${top + (box[1] * height) / 1000}px`;
        face.style.width = `${((box[2] - box[0]) * width) / 1000}px`;
        face.style.height = `${((box[3] - box[1]) * height) / 1000}px`;
      }
      for (const line of lines) {
        const x = (1000 * Math.max(0, time)) / one.time.length;
        line.setAttribute("x1", x);
        line.setAttribute("x2", x);
      }
      for (const word of words) word.classList.toggle("now", time >= word.dataset.from && time < word.dataset.to);
    };
    const run = () => { update(); if (!video.paused && video.isConnected) requestAnimationFrame(run); };
    video.addEventListener("play", run);
    for (const name of ["seeked", "timeupdate", "loadeddata"]) video.addEventListener(name, update);
    for (const bar of bars) bar.addEventListener("click", (event) => {
      const area = bar.getBoundingClientRect();
      video.currentTime = start + ((event.clientX - area.left) / area.width) * one.time.length;
    });
  };

  const watch = (one) => {
    const box = element("div", undefined, "watch");
    const video = element("video");
    video.controls = true;
    video.playsInline = true;
    video.preload = one.clip ? "metadata" : "none";
    video.setAttribute("aria-label", `Clip ${one.id}`);
    video.src = one.clip ? `${blobUrl(one.id)}#t=0.01` : one.link; // #t: shows a picture before it plays
    if (!one.clip) video.addEventListener("error", () => {
      const link = element("a", "Open the video file");
      link.href = one.link;
      video.replaceWith(link);
    });
    box.append(video);
    if (one.time?.boxes) {
      const face = element("div", undefined, "face");
      face.hidden = true;
      box.append(face);
    }
    return box;
  };

  const scores = (one) => {
    const table = element("table", undefined, "scores");
    table.setAttribute("aria-label", `Labels and predictions of ${one.id}`);
    const head = element("tr");
    const columns = ["condition", ...(one.truth ? ["label"] : []), ...(one.class ? ["class"] : []), ...(one.pred ? ["predicted"] : []), ...(one.said ? ["class"] : [])];
    for (const name of columns) { const cell = element("th", name); cell.scope = "col"; head.append(cell); }
    table.append(head);
    for (const name of CONDITIONS) {
      if ([one.truth, one.pred, one.class, one.said].every((values) => values?.[name] === undefined)) continue;
      const isWrong = one.wrong?.includes(name);
      const row = element("tr", undefined, isWrong ? "wrong" : "");
      const label = element("th", name);
      label.scope = "row";
      label.title = NAMES[name];
      row.append(label);
      if (one.truth) row.append(element("td", number(one.truth[name])));
      if (one.class) row.append(element("td", one.class[name] ?? "–"));
      if (one.pred) row.append(element("td", number(one.pred[name])));
      if (one.said) row.append(element("td", one.said[name] ?? "–"));
      if (isWrong) row.lastElementChild.append(" ✗ wrong");
      table.append(row);
    }
    return table;
  };

  const attribution = (one) => {
    const largest = Math.max(...Object.values(one.adds).map(Math.abs), 1e-9);
    const table = element("table", undefined, "scores adds");
    table.append(element("caption", "Contribution of each to the prediction of M"));
    for (const [name, value] of Object.entries(one.adds)) {
      const row = element("tr");
      const label = element("th", NAMES[name]);
      label.scope = "row";
      const bar = element("div", undefined, value < 0 ? "bar less" : "bar");
      bar.style.width = `${(60 * Math.abs(value)) / largest}px`;
      const cell = element("td", `${value > 0 ? "+" : ""}${number(value)}`);
      const drawn = element("td");
      drawn.append(bar);
      row.append(label, cell, drawn);
      table.append(row);
    }
    return table;
  };

  // Marks stay in this browser, and are saved as a table that --exclude reads.
  const store = `fmltk marks ${location.pathname}`;
  let marks = {};
  try { marks = JSON.parse(localStorage.getItem(store) ?? "{}"); } catch { /* a browser that keeps nothing */ }
  const mark = (id, change) => {
    const changed = { decision: "", reason: "", ...marks[id], ...change };
    if (changed.decision || changed.reason) marks[id] = changed; else delete marks[id];
    try { localStorage.setItem(store, JSON.stringify(marks)); } catch { /* see above */ }
    countMarks();
  };
  const countMarks = () => {
    const n = cases.filter((one) => marks[one.id]).length;
    at("save").textContent = `Save marks as CSV (${n})`;
    at("save").disabled = n === 0;
  };
  const guarded = (text) => (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const saveMarks = () => {
    const rows = cases.filter((one) => marks[one.id]).map((one) => [one.id, marks[one.id].decision, marks[one.id].reason]);
    const lines = [["utterance_id", "decision", "reason"], ...rows].map((row) => row.map((cell) => quoted(guarded(cell))).join(","));
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
    link.download = "marks.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  const marking = (one) => {
    const box = element("p", undefined, "marking");
    const select = element("select");
    select.setAttribute("aria-label", `Decision on ${one.id}`);
    select.append(option("", "no mark"), option("keep", "keep"), option("exclude", "exclude"));
    select.value = marks[one.id]?.decision ?? "";
    select.addEventListener("input", () => mark(one.id, { decision: select.value }));
    const reason = element("input");
    reason.setAttribute("aria-label", `Reason for the mark on ${one.id}`);
    reason.placeholder = "why";
    reason.value = marks[one.id]?.reason ?? "";
    reason.addEventListener("input", () => mark(one.id, { reason: reason.value }));
    box.append(select, reason);
    return box;
  };

  // Keys of a clip that has the focus; in a field they are letters.
  const press = (event) => {
    const item = event.target.closest?.(".case");
    if (!item || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, video, a")) return;
    const decide = (decision) => {
      const select = item.querySelector(".marking select");
      select.value = decision;
      select.dispatchEvent(new Event("input"));
    };
    const video = item.querySelector("video");
    const keys = {
      n: () => item.nextElementSibling?.focus(),
      p: () => item.previousElementSibling?.focus(),
      k: () => decide("keep"),
      x: () => decide("exclude"),
      u: () => decide(""),
      " ": () => video && (video.paused ? video.play() : video.pause()),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  };

  const card = (one) => {
    const item = element("li", undefined, "case");
    item.tabIndex = 0;
    const heading = element("h3", one.id);
    if (one.split) heading.append(element("span", one.split, "tag"));
    if (one.conflict) heading.append(element("span", "conflict", "tag"));
    if (one.wrong?.length) heading.append(element("span", `wrong: ${one.wrong.join(", ")}`, "tag bad"));
    for (const reason of one.look ?? []) heading.append(element("span", reason, "tag bad"));
    if (one.status && one.status !== "ok") heading.append(element("span", one.status, "tag bad"));
    item.append(heading);
    item.append(transcript(one));
    if (one.why) item.append(element("p", one.why, "said note"));
    let video;
    if (one.clip || one.link) {
      item.classList.add("has-clip");
      const box = watch(one);
      video = box.querySelector("video");
      item.append(box);
    }
    if (one.truth || one.pred || one.said) item.append(scores(one));
    if (one.note) item.append(element("p", one.note, "said note"));
    if (one.adds) item.append(attribution(one));
    if (one.time?.length) item.append(timeline(one));
    item.append(marking(one));
    if (video && one.time) accompany(one, video, item);
    return item;
  };

  const draw = () => {
    for (const url of urls) URL.revokeObjectURL(url);
    urls = [];
    const found = chosen();
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    at("list").replaceChildren(...found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(card));
    at("count").textContent = `${found.length} of ${cases.length} clips`;
    at("page").textContent = `page ${page + 1} of ${pages}`;
    at("previous").disabled = page === 0;
    at("next").disabled = page === pages - 1;
  };
  const restart = () => { page = 0; draw(); };
  const turn = (by) => () => { page += by; draw(); at("cases").scrollIntoView(); };
  at("filter").addEventListener("input", restart);
  at("filter").addEventListener("submit", (event) => event.preventDefault());
  at("previous").addEventListener("click", turn(-1));
  at("next").addEventListener("click", turn(1));
  // A finding names the clips that it is about: #cases=wrong.
  const follow = () => {
    const [, name] = location.hash.match(/^#cases=(.*)$/) ?? [];
    if (name === undefined) return;
    at("show").value = shows[name] ? name : "";
    restart();
    at("cases").scrollIntoView();
  };
  addEventListener("hashchange", follow);
  at("list").addEventListener("keydown", press);
  at("save").addEventListener("click", saveMarks);
  countMarks();
  draw();
  follow();
})();
