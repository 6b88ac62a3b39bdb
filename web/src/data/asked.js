/** Answers by question.  A page asks for what it shows whenever it is drawn; what is not there yet is fetched once, and
 * the page drawn again when it has come.  Meanwhile `latest` shows what was there before. */

/** @template T @typedef {{value?: T, error?: Error, pending: boolean}} Answer */

const MOST = 300;

export class Asked {
  /** @param {() => void} redraw */
  constructor(redraw) {
    this.redraw = redraw;
    /** @type {Map<string, Answer<any>>} */
    this.answers = new Map();
    /** @type {Map<string, Answer<any>>} */
    this.slots = new Map();
    /** @type {Map<string, Answer<any>>} what was answered before it may have become different */
    this.stale = new Map();
    this.pending = 0;
  }

  /** @template T @param {string} key @param {() => Promise<T>} ask @returns {Answer<T>} */
  get(key, ask) {
    const known = this.answers.get(key);
    if (known) return known;
    /** @type {Answer<T>} */
    const answer = {value: this.stale.get(key)?.value, pending: true};
    if (this.answers.size >= MOST) this.answers.delete(/** @type {string} */ (this.answers.keys().next().value));
    this.answers.set(key, answer);
    this.pending += 1;
    ask().then(
      (value) => {
        answer.value = value;
      },
      (error) => {
        answer.value = undefined;
        answer.error = error;
      },
    ).finally(() => {
      answer.pending = false;
      this.pending -= 1;
      this.redraw();
    });
    return answer;
  }

  /** As `get`; while the answer is not there, the last one that stood in the same place.
   * @template T @param {string} slot @param {string} key @param {() => Promise<T>} ask @returns {Answer<T>} */
  latest(slot, key, ask) {
    const answer = this.get(key, ask);
    const before = this.slots.get(slot);
    if (answer.pending && answer.value === undefined && before?.value !== undefined) return {value: before.value, pending: true};
    this.slots.set(slot, answer);
    return answer;
  }

  /** Whatever was answered may be different now; it is shown until the new answer has come, so nothing flickers and
   * the focus stays where it is. */
  forget() {
    this.stale = this.answers;
    this.answers = new Map();
    this.redraw();
  }
}
