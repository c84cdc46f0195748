/** Steps by name, with the names of those that each needs. */
export type Needs = ReadonlyMap<string, readonly string[]>;

/** Every circle of steps that wait for each other, as the names on the way round; a step is in one of them at most. */
export function cyclesOf(needs: Needs): string[][] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const follow = (name: string): void => {
    const at = way.indexOf(name);
    if (at >= 0) {
      cycles.push(way.slice(at));
      return;
    }
    if (done.has(name)) return;
    way.push(name);
    for (const needed of needs.get(name) ?? []) follow(needed);
    way.pop();
    done.add(name);
  };
  for (const name of needs.keys()) follow(name);
  const seen = new Set<string>();
  return cycles.filter((cycle) => {
    const isNew = !cycle.some((name) => seen.has(name));
    for (const name of cycle) seen.add(name);
    return isNew;
  });
}

/** All that has ended by the time that a step begins: what it needs, what that needs, and so on. */
export function ancestorsOf(needs: Needs, name: string): Set<string> {
  const found = new Set<string>();
  const open = [...(needs.get(name) ?? [])];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (found.has(next)) continue;
    found.add(next);
    open.push(...(needs.get(next) ?? []));
  }
  return found;
}
