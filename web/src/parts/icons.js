import {html} from 'lit-html';

/** Three sheets, one above the other. */
export function mark() {
  return html`<svg class="mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
    <path class="s3" d="M12 12.6 21 17l-9 4.4L3 17z"></path>
    <path class="s2" d="M12 7.6 21 12l-9 4.4L3 12z"></path>
    <path class="s1" d="M12 2.6 21 7l-9 4.4L3 7z"></path>
  </svg>`;
}
