// Without this script pairs stand side by side, films are strips to scroll, and nothing is missing.
document.documentElement.classList.add("js");
for (const compare of document.querySelectorAll(".compare")) {
  const both = compare.querySelector(".both"), range = compare.querySelector("input");
  const show = () => {
    both.style.setProperty("--at", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % of the original`);
  };
  range.addEventListener("input", show);
  show();
}
for (const film of document.querySelectorAll(".film")) {
  const frames = JSON.parse(film.dataset.frames);
  const range = film.querySelector("input"), button = film.querySelector("button"), output = film.querySelector("output");
  let timer = 0;
  const show = () => {
    film.style.setProperty("--frame", range.value);
    range.setAttribute("aria-valuetext", frames[range.value]);
    output.textContent = frames[range.value];
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
  };
  const next = () => {
    if (range.valueAsNumber < frames.length - 1) {
      range.valueAsNumber += 1;
      show();
    } else {
      stop();
    }
  };
  button.addEventListener("click", () => {
    if (timer) {
      stop();
      return;
    }
    range.valueAsNumber = range.valueAsNumber === frames.length - 1 ? 0 : range.valueAsNumber;
    button.textContent = "Stop";
    timer = setInterval(next, Math.max(120, 3000 / frames.length));
    show();
  });
  range.addEventListener("input", () => {
    stop();
    show();
  });
  for (const window of film.querySelectorAll(".window")) {
    window.removeAttribute("tabindex");
  }
  show();
}
