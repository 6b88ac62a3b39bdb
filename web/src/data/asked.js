/** Answers by question.  A page asks for what it shows whenever it is drawn; what is not there yet is fetched once, and
 * the page drawn again when it has come.  Meanwhile `latest` shows what was there before. */

/** @template T @typedef {{value?: T, error?: Error, pending: boolean}} Answer */

const MOST = 4000; // more than any page asks at once
const AGAIN = 3000; // milliseconds until a server that did not answer is asked once more
const AWAY = new Set([0, 503]); // no answer, or that it has too much to do

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
    if (known) {
      this.answers.delete(key); // those that were not asked for longest go first
      this.answers.set(key, known);
      return known;
    }
    const before = this.stale.get(key);
    /** @type {Answer<T>} */
    const answer = {value: before?.value, error: before?.error, pending: true};
    if (this.answers.size >= MOST) this.answers.delete(/** @type {string} */ (this.answers.keys().next().value));
    this.answers.set(key, answer);
    this.pending += 1;
    ask().then(
      (value) => {
        answer.value = value;
        answer.error = undefined;
      },
      (error) => {
        answer.value = undefined;
        answer.error = error;
        if (AWAY.has(error.status)) setTimeout(() => this.#again(key, answer), AGAIN);
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

  /** Ask once more; until it is answered the failure is told. @param {string} key @param {Answer<any>} answer */
  #again(key, answer) {
    if (this.answers.get(key) !== answer) return;
    this.answers.delete(key);
    this.stale.set(key, answer);
    this.redraw();
  }

  /** Ask at once what the server did not answer: it can be reached again. */
  retry() {
    for (const [key, answer] of [...this.answers]) {
      if (!answer.pending && AWAY.has(/** @type {any} */ (answer.error)?.status)) this.#again(key, answer);
    }
  }

  /** Whatever was answered may be different now; it is shown until the new answer has come, so nothing flickers and
   * the focus stays where it is. */
  forget() {
    this.stale = this.answers;
    this.answers = new Map();
    this.redraw();
  }
}
