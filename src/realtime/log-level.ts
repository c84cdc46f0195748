import type { LogLevel, LogStream } from './log-line.ts';

/** A level stands near the beginning of a line, or of its JSON. */
const PROBED_CHARACTERS = 128;
const PROBED_JSON_CHARACTERS = 2_048;

const LEVEL_OF_WORD: Record<string, LogLevel> = {
  trace: 'DEBUG',
  debug: 'DEBUG',
  verbose: 'DEBUG',
  info: 'INFO',
  information: 'INFO',
  notice: 'INFO',
  log: 'INFO',
  hint: 'INFO',
  detail: 'INFO',
  statement: 'INFO',
  warn: 'WARN',
  warning: 'WARN',
  wrn: 'WARN',
  err: 'ERROR',
  error: 'ERROR',
  crit: 'ERROR',
  critical: 'ERROR',
  alert: 'ERROR',
  emerg: 'ERROR',
  fatal: 'ERROR',
  panic: 'ERROR',
  severe: 'ERROR',
};

const WORDS = 'trace|debug|info|notice|warn(?:ing)?|wrn|error|err|crit(?:ical)?|alert|emerg|fatal|panic|severe';
/** What any of the forms below needs: most lines have none of it and are done. */
const ANY_HINT = new RegExp(
  `${WORDS}|level|lvl|severity|log|hint|detail|statement|Traceback|^<\\d|^[IWEF]\\d{4} |^\\d+:[A-Z] `,
  'i',
);
const JSON_LEVEL = /"(?:level|lvl|severity|log\.level|loglevel|levelname)"\s*:\s*(?:"(\w+)"|(\d+))/i;
const LOGFMT_LEVEL = /(?:^|\s)(?:level|lvl|severity)="?(\w+)/i;
const SYSLOG_PRIORITY = /^<(\d{1,3})>/;
const KLOG = /^([IWEF])\d{4} \d\d:\d\d/;
const REDIS = /^\d+:[A-Z] \d\d \w{3} \d{4} [\d:.]+ ([.\-*#]) /;
/** nginx "[error]", Apache "[core:error]", "[ WARN ]". */
const BRACKETED = new RegExp(`\\[\\s*(?:\\w+:)?(${WORDS})\\s*\\]`, 'i');
/** "ERROR: x", "Warning: x", "web error: x", and PostgreSQL's "… LOG:  x". */
const AT_START = new RegExp(`^(?:\\S+ )?(${WORDS})\\s*:`, 'i');
const POSTGRES = /(?:^|\s)(LOG|HINT|DETAIL|STATEMENT|PANIC|FATAL|ERROR|WARNING|NOTICE|DEBUG)\d?: {2}/;
/** "WARN x"; "2026-11-22 10:00:00 ERROR x", "12:00:01 | INFO | x": behind something that holds a digit or a bar. */
const UPPER_CASE = new RegExp(`^(?:.{0,40}?[\\d|\\]]\\S*\\s.{0,40}?)?\\b(${WORDS.toUpperCase()})\\b`);
const EXCEPTION =
  /^(?:Uncaught )?(?:(?:[A-Z]\w*)?(?:Error|Exception)\b(?: \[\w+\])?:|Traceback \(most recent call last\))/;
const NPM_ERROR = /^npm (?:ERR!|error) /;
const PINO_STEP = 10;
const COLOURS = /\x1b\[[\d;]*m/g;

/** The level as the line itself says it; else INFO for STDOUT and SYSTEM, WARN for STDERR. */
export function detectLevel(message: string, stream: LogStream): LogLevel {
  return statedLevel(message) ?? (stream === 'STDERR' ? 'WARN' : 'INFO');
}

function statedLevel(message: string): LogLevel | undefined {
  if (message.startsWith('{')) return jsonLevel(message.slice(0, PROBED_JSON_CHARACTERS));
  let head = message.length > PROBED_CHARACTERS ? message.slice(0, PROBED_CHARACTERS) : message;
  if (!ANY_HINT.test(head)) return undefined;
  if (head.includes('\x1b')) head = head.replace(COLOURS, '');
  const priority = SYSLOG_PRIORITY.exec(head);
  if (priority) return syslogLevel(Number(priority[1]) % 8);
  const letter = KLOG.exec(head)?.[1];
  if (letter) return letter === 'I' ? 'INFO' : letter === 'W' ? 'WARN' : 'ERROR';
  const sign = REDIS.exec(head)?.[1];
  if (sign) return sign === '#' ? 'WARN' : sign === '*' ? 'INFO' : 'DEBUG';
  if (EXCEPTION.test(head) || NPM_ERROR.test(head)) return 'ERROR';
  for (const form of [BRACKETED, LOGFMT_LEVEL, POSTGRES, AT_START, UPPER_CASE]) {
    const word = form.exec(head)?.[1];
    const level = word === undefined ? undefined : LEVEL_OF_WORD[word.toLowerCase()];
    if (level) return level;
  }
  return undefined;
}

function jsonLevel(head: string): LogLevel | undefined {
  const found = JSON_LEVEL.exec(head);
  if (!found) return undefined;
  if (found[1] !== undefined) return LEVEL_OF_WORD[found[1].toLowerCase()];
  const number = Number(found[2]);
  // pino and bunyan count 10, 20 … 60 upwards; syslog (GELF) 7 … 0 downwards.
  return number < PINO_STEP ? syslogLevel(number) : pinoLevel(number);
}

function pinoLevel(number: number): LogLevel {
  if (number < 30) return 'DEBUG';
  if (number < 40) return 'INFO';
  return number < 50 ? 'WARN' : 'ERROR';
}

function syslogLevel(severity: number): LogLevel {
  if (severity <= 3) return 'ERROR';
  if (severity === 4) return 'WARN';
  return severity <= 6 ? 'INFO' : 'DEBUG';
}
