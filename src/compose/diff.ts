/** One field that differs; null: absent on that side. Lists and mappings that appear or vanish as a whole are JSON. */
export type FieldChange = { path: string; before: string | null; after: string | null };

/** What differs between two services (or any plain data), field by field, in the order of paths. */
export function diffServices(before: unknown, after: unknown): FieldChange[] {
  const changes: FieldChange[] = [];
  compare('', before, after, changes);
  return changes;
}

function compare(path: string, before: unknown, after: unknown, changes: FieldChange[]): void {
  if (isRecord(before) && isRecord(after)) {
    for (const key of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
      const name = /^[A-Za-z0-9_-]+$/.test(key) ? (path ? `.${key}` : key) : `[${JSON.stringify(key)}]`;
      compare(path + name, own(before, key), own(after, key), changes);
    }
  } else if (Array.isArray(before) && Array.isArray(after)) {
    for (let index = 0; index < Math.max(before.length, after.length); index++) {
      compare(`${path}[${index}]`, before[index], after[index], changes);
    }
  } else if (shown(before) !== shown(after)) {
    changes.push({ path, before: shown(before), after: shown(after) });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function own(record: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

function shown(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  return typeof value === 'string' ? value : JSON.stringify(value);
}
