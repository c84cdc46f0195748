export type Severity = 'ERROR' | 'WARNING' | 'INFO';

/** What a check says about one place of a compose file. Lines and columns count from 1. */
export type Finding = {
  /** Stable, kebab-case: "port-duplicate". */
  rule: string;
  severity: Severity;
  /** Sentences a person understands; never a variable's value. */
  message: string;
  /** "services.web.ports[0]"; null: the whole file. */
  path: string | null;
  line: number | null;
  column: number | null;
  /** What to write instead, where that is known. */
  suggestion: string | null;
};

export type Position = { line: number; column: number };
export type Path = readonly (string | number)[];

/** At most this many findings are reported, the most severe first; one more says how many were left out. */
export const MAX_FINDINGS = 200;
/** Of errors, and of all else: what a hostile file may make us hold in memory. */
const MAX_COLLECTED = 5_000;
/** Of each key in a path: the rest is left out. */
const MAX_SHOWN_KEY = 100;
const RANK: Record<Severity, number> = { ERROR: 0, WARNING: 1, INFO: 2 };

/** A suggestion that costs work is a function: only findings that are shown need it. */
export type Suggestion = string | null | undefined | (() => string | null);
type Collected = Omit<Finding, 'suggestion'> & { suggestion: Suggestion };

/** Collects the findings of one check. */
export class Report {
  readonly #errors: Collected[] = [];
  readonly #others: Collected[] = [];
  readonly #refused = new Set<string>();
  #dropped = 0;

  /** Marks a value of the wrong shape: nothing more need be said about it. */
  refuse(path: Path): void {
    this.#refused.add(formatPath(path));
  }

  isRefused(path: Path): boolean {
    return this.#refused.size > 0 && this.#refused.has(formatPath(path));
  }

  add(
    severity: Severity,
    rule: string,
    message: string,
    place: { path?: Path | null; position?: Position | null; suggestion?: Suggestion } = {},
  ): void {
    const list = severity === 'ERROR' ? this.#errors : this.#others;
    if (list.length >= MAX_COLLECTED) {
      this.#dropped++;
      return;
    }
    list.push({
      rule,
      severity,
      message,
      path: place.path?.length ? formatPath(place.path) : null,
      line: place.position?.line ?? null,
      column: place.position?.column ?? null,
      suggestion: place.suggestion,
    });
  }

  /** All findings, in the order of the file, each said once, at most MAX_FINDINGS and one. */
  findings(): Finding[] {
    const all = [...this.#errors, ...this.#others];
    const identity = ({ rule, message, path, line, column }: Collected) =>
      JSON.stringify([rule, message, path, line, column]);
    const distinct = [...new Map(all.map((finding) => [identity(finding), finding])).values()];
    const kept = distinct
      .toSorted((a, b) => RANK[a.severity] - RANK[b.severity] || byPlace(a, b))
      .slice(0, MAX_FINDINGS)
      .sort(byPlace)
      .map(({ suggestion, ...finding }): Finding => {
        const text = typeof suggestion === 'function' ? suggestion() : suggestion;
        return { ...finding, suggestion: text ?? null };
      });
    const left = distinct.length - kept.length + this.#dropped;
    if (left > 0) {
      const severity = this.#errors.length > 0 ? 'ERROR' : 'WARNING';
      const message = `${left} more findings are not shown. Mend these first, then check again.`;
      kept.push({
        rule: 'too-many-findings',
        severity,
        message,
        path: null,
        line: null,
        column: null,
        suggestion: null,
      });
    }
    return kept;
  }
}

function byPlace(a: Collected, b: Collected): number {
  const line = (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
  return line || RANK[a.severity] - RANK[b.severity] || (a.rule < b.rule ? -1 : a.rule > b.rule ? 1 : 0);
}

/** `["services", "web", "ports", 0]` as "services.web.ports[0]"; other keys in brackets: `services["my.web"]`. */
export function formatPath(path: Path): string {
  let text = '';
  for (const part of path) {
    const key = typeof part === 'number' || part.length <= MAX_SHOWN_KEY ? part : `${part.slice(0, MAX_SHOWN_KEY)}…`;
    if (typeof key === 'number') text += `[${key}]`;
    else if (!/^[A-Za-z0-9_-]+$/.test(key)) text += `[${JSON.stringify(key)}]`;
    else text += text ? `.${key}` : key;
  }
  return text;
}

/** Points that findings cost. */
export const SCORING = {
  firstError: 50,
  furtherError: 10,
  warning: 5,
  maxWarnings: 40,
  info: 1,
  maxInfos: 10,
} as const;

/**
 * A compose file's score, 0–100: 100 less 50 for the first ERROR and 10 for each further one, less 5 for each WARNING
 * (40 at most), less 1 for each INFO (10 at most), never under 0. Without an ERROR it is 50 at least, with one 50 at most.
 */
export function scoreOf(findings: readonly Pick<Finding, 'severity'>[]): number {
  const count = (severity: Severity) => findings.filter((finding) => finding.severity === severity).length;
  const errors = count('ERROR');
  const lost =
    (errors > 0 ? SCORING.firstError + SCORING.furtherError * (errors - 1) : 0) +
    Math.min(SCORING.maxWarnings, SCORING.warning * count('WARNING')) +
    Math.min(SCORING.maxInfos, SCORING.info * count('INFO'));
  return Math.max(0, 100 - lost);
}
