const MIN_LINE_BYTES = 8;
/** Fewer characters of base64 than this occur by chance. */
const MIN_BASE64_CHARS = 4;
/** Columns at which `base64` and `openssl` wrap. */
const BASE64_WIDTHS = [76, 64];

const UNRESERVED = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.';
/** What stays unescaped: RFC 3986, encodeURIComponent, encodeURI, a path (Python's `quote`); a form also turns a space into "+". */
const PERCENT_KEPT = [`${UNRESERVED}~`, `${UNRESERVED}~!*'()`, `${UNRESERVED}~!*'();/?:@&=+$,#`, `${UNRESERVED}~/`];
const FORM_KEPT = `${UNRESERVED}*`;

/**
 * Every byte sequence as which a secret is masked: itself, the lines of 8 bytes or more of a value of several lines, and each of
 * these JSON-escaped and percent-encoded as common encoders do; base64 and base64url at all three alignments. Line breaks
 * around the value are no part of the raw form, so that masking never swallows the newline that ends a line of output.
 */
export function maskedForms(secret: string): Uint8Array[] {
  const value = secret.toWellFormed();
  const core = value.replace(/^[\r\n]+|[\r\n]+$/g, '');
  if (core === '') return [];
  const forms = new Set<string>();
  for (const text of [core, ...longLines(core)]) {
    forms.add(text);
    for (const form of jsonForms(text)) forms.add(form);
    for (const form of percentForms(text)) forms.add(form);
  }
  for (const text of new Set([core, value])) for (const form of base64Forms(Buffer.from(text))) forms.add(form);
  return [...forms].map((form) => Buffer.from(form));
}

function longLines(value: string): string[] {
  const lines = value.split(/\r?\n|\r/);
  if (lines.length === 1) return [];
  const long = (line: string) => Buffer.byteLength(line) >= MIN_LINE_BYTES;
  // Without its indentation a line is found however it is indented again.
  return lines.map((line) => (long(line.trim()) ? line.trim() : line)).filter(long);
}

function jsonForms(text: string): string[] {
  const plain = JSON.stringify(text).slice(1, -1);
  const unicode = (pattern: RegExp, upper: boolean) => (form: string) =>
    form.replace(pattern, (unit) => {
      const hex = unit.charCodeAt(0).toString(16).padStart(4, '0');
      return `\\u${upper ? hex.toUpperCase() : hex}`;
    });
  const ascii = unicode(/[\u007f-\uffff]/g, false)(plain);
  const slashes = (form: string) => form.replaceAll('/', '\\/');
  return [
    plain,
    ascii,
    unicode(/[\u007f-\uffff]/g, true)(plain),
    slashes(plain),
    slashes(ascii),
    unicode(/[<>&\u2028\u2029]/g, false)(plain),
    unicode(/[<>&'+\u007f-\uffff]/g, true)(plain.replaceAll('\\"', '\\u0022')),
  ];
}

function percentForms(text: string): string[] {
  const bytes = Buffer.from(text);
  const forms: string[] = [];
  for (const upper of [true, false]) {
    for (const kept of PERCENT_KEPT) forms.push(percentEncode(bytes, kept, upper));
    forms.push(percentEncode(bytes, `${FORM_KEPT} `, upper).replaceAll(' ', '+'));
  }
  return forms;
}

function percentEncode(bytes: Uint8Array, kept: string, upper: boolean): string {
  let text = '';
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    const hex = byte.toString(16).padStart(2, '0');
    text += kept.includes(character) ? character : `%${upper ? hex.toUpperCase() : hex}`;
  }
  return text;
}

function base64Forms(bytes: Buffer): string[] {
  const forms: string[] = [];
  const whole = bytes.toString('base64');
  for (const form of [whole, bytes.toString('base64url')]) if (form.length >= MIN_BASE64_CHARS) forms.push(form);
  for (const width of BASE64_WIDTHS) if (whole.length > width) forms.push(...wrapped(whole, width));
  for (const before of [0, 1, 2]) {
    const padded = Buffer.concat([Buffer.alloc(before), bytes, Buffer.alloc(3)]);
    // Only characters whose six bits all belong to the secret: the others depend on its neighbours.
    const [from, to] = [Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6)];
    if (to - from < MIN_BASE64_CHARS) continue;
    forms.push(padded.toString('base64').slice(from, to), padded.toString('base64url').slice(from, to));
  }
  return forms;
}

function wrapped(base64: string, width: number): string[] {
  const lines: string[] = [];
  for (let start = 0; start < base64.length; start += width) lines.push(base64.slice(start, start + width));
  const tail = lines.at(-1)!;
  if (tail.length < MIN_LINE_BYTES) lines.splice(-1, 1, `${lines.at(-2)}\n${tail}`);
  return lines;
}
