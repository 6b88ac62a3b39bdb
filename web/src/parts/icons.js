import {html, svg} from 'lit-html';

/** @param {unknown} drawn a picture of 24 x 24, in lines */
function lines(drawn) {
  return html`<svg class="icon" viewBox="0 0 24 24" width="18" height="18" aria-hidden="true">${drawn}</svg>`;
}

export function lens() {
  return lines(svg`<circle cx="10.5" cy="10.5" r="6"></circle><path d="m15 15 5.5 5.5"></path>`);
}

export function linked() {
  return lines(svg`<path d="M10 14a4 4 0 0 0 5.7 0l3.6-3.6a4 4 0 0 0-5.7-5.7l-1.4 1.4"></path><path d="M14 10a4 4 0 0 0-5.7 0l-3.6 3.6a4 4 0 0 0 5.7 5.7l1.4-1.4"></path>`);
}

/** @param {boolean} shut */
export function padlock(shut) {
  return lines(svg`<rect x="5" y="11" width="14" height="9" rx="2"></rect><path d=${shut ? 'M8 11V8a4 4 0 0 1 8 0v3' : 'M8 11V8a4 4 0 0 1 7.6-1.8'}></path>`);
}

/** Three sheets, one above the other. */
export function mark() {
  return html`<svg class="mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
    <path class="s3" d="M12 12.6 21 17l-9 4.4L3 17z"></path>
    <path class="s2" d="M12 7.6 21 12l-9 4.4L3 12z"></path>
    <path class="s1" d="M12 2.6 21 7l-9 4.4L3 7z"></path>
  </svg>`;
}
