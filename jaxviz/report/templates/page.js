// Without this script films are strips to scroll, and nothing is missing.
document.documentElement.classList.add("js");
for (const film of document.querySelectorAll(".film")) {
  const frames = film.dataset.frames.split("|");
  const range = film.querySelector("input"), button = film.querySelector("button"), output = film.querySelector("output");
  let timer = 0;
  const show = () => {
    film.style.setProperty("--frame", range.value);
    range.setAttribute("aria-valuetext", frames[range.value]);
    output.textContent = frames[range.value];
  };
  const play = (playing) => {
    clearInterval(timer);
    timer = playing ? setInterval(next, Math.max(120, 3000 / frames.length)) : 0;
    button.textContent = playing ? "Stop" : "Play";
    show();
  };
  const next = () => {
    range.valueAsNumber += 1;
    play(range.valueAsNumber < frames.length - 1);
  };
  button.addEventListener("click", () => {
    range.valueAsNumber %= frames.length - 1;
    play(!timer);
  });
  range.addEventListener("input", () => play(false));
  film.querySelectorAll(".window").forEach((window) => window.removeAttribute("tabindex"));
  show();
}
