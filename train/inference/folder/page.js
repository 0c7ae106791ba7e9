"use strict";
const get = (id) => document.getElementById(id);
const find = get("find"), kind = get("kind");
const cards = [...get("cards").children].map((node) => ({ node, text: "" }));

function show() {
  const words = find.value.toLowerCase().trim();
  let count = 0;
  for (const card of cards) {
    if (words && !card.text) card.text = card.node.textContent.toLowerCase();
    const kinds = card.node.dataset.kind.split(" ");
    const wanted = (!words || card.text.includes(words)) && (!kind.value || kinds.includes(kind.value));
    card.node.hidden = !wanted;
    count += wanted;
  }
  get("count").textContent = `${count} of ${cards.length}`;
}

// a video is loaded when somebody asks for it: a page may have thousands
function play(card, at) {
  let video = card.querySelector("video");
  if (!video) {
    video = document.createElement("video");
    video.controls = true;
    video.src = card.dataset.video;
    video.addEventListener("timeupdate", () => {
      for (const bar of card.querySelectorAll(".bars button")) {
        const next = bar.nextElementSibling;
        const now = video.currentTime >= Number(bar.dataset.seek) && (!next || video.currentTime < Number(next.dataset.seek));
        bar.classList.toggle("now", now);
      }
    });
    card.querySelector(".strip").before(video);
  }
  const go = () => { video.currentTime = at; video.play().catch(() => {}); };
  if (video.readyState > 0) go();
  else video.addEventListener("loadedmetadata", go, { once: true });
}

get("cards").addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (event.target.dataset.seek) play(card, Number(event.target.dataset.seek));
  else if (event.target.dataset.times) {
    const times = event.target.dataset.times.split(" ").map(Number);
    const place = Math.floor((event.offsetX / event.target.clientWidth) * times.length);
    play(card, times[Math.min(times.length - 1, Math.max(0, place))]);
  }
});
find.addEventListener("input", show);
kind.addEventListener("change", show);
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "Escape" && typing) document.activeElement.blur();
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    find.focus();
  }
});
show();
