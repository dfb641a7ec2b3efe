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
  };
  for (const reason of [...new Set(cases.flatMap((one) => one.look ?? []))].sort()) {
    shows[`look-${reason}`] = [`to look at: ${reason}`, (one) => one.look?.includes(reason)];
  }
  for (const [name, [text, test]] of Object.entries(shows)) {
    const some = name === "wrong" ? cases.some((one) => one.wrong?.length) : cases.some(test);
    if (some) at("show").append(option(name, text)); else delete shows[name];
  }
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
    return box;
  };

  const scores = (one) => {
    const table = element("table", undefined, "scores");
    table.setAttribute("aria-label", `Labels and predictions of ${one.id}`);
    const head = element("tr");
    const columns = ["condition", ...(one.truth ? ["label"] : []), ...(one.class ? ["class"] : []), ...(one.pred ? ["predicted"] : [])];
    for (const name of columns) { const cell = element("th", name); cell.scope = "col"; head.append(cell); }
    table.append(head);
    for (const name of CONDITIONS) {
      if (one.truth?.[name] === undefined && one.pred?.[name] === undefined) continue;
      const isWrong = one.wrong?.includes(name);
      const row = element("tr", undefined, isWrong ? "wrong" : "");
      const label = element("th", name);
      label.scope = "row";
      label.title = NAMES[name];
      row.append(label);
      if (one.truth) row.append(element("td", number(one.truth[name])));
      if (one.class) row.append(element("td", one.class[name] ?? "–"));
      if (one.pred) row.append(element("td", number(one.pred[name]) + (isWrong ? " ✗ wrong" : "")));
      table.append(row);
    }
    return table;
  };

  const card = (one) => {
    const item = element("li", undefined, "case");
    const heading = element("h3", one.id);
    if (one.split) heading.append(element("span", one.split, "tag"));
    if (one.conflict) heading.append(element("span", "conflict", "tag"));
    if (one.wrong?.length) heading.append(element("span", `wrong: ${one.wrong.join(", ")}`, "tag bad"));
    for (const reason of one.look ?? []) heading.append(element("span", reason, "tag bad"));
    if (one.status && one.status !== "ok") heading.append(element("span", one.status, "tag bad"));
    item.append(heading);
    item.append(element("p", one.text ?? "no transcript", one.text ? "said" : "said note"));
    if (one.why) item.append(element("p", one.why, "said note"));
    if (one.clip || one.link) { item.classList.add("has-clip"); item.append(watch(one)); }
    if (one.truth || one.pred) item.append(scores(one));
    if (one.adds) {
      const parts = Object.entries(one.adds).map(([name, value]) => `${NAMES[name]} ${value > 0 ? "+" : ""}${number(value)}`);
      item.append(element("p", `Adds to M: ${parts.join(", ")}`, "said note"));
    }
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
  draw();
  follow();
})();
