import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ServiceModel } from './model.ts';
import { dependencyOrder } from './order.ts';
import { check } from './testing.ts';

describe('dependencies', () => {
  it('should name the services of a cycle', () => {
    const { findings } = check(
      'services:\n  a: { image: x, depends_on: [b] }\n  b: { image: x, depends_on: [c] }\n  c: { image: x, depends_on: [b] }',
    );
    expect(findings).toMatchObject([
      {
        rule: 'dependency-cycle',
        line: 4,
        path: 'services.c.depends_on[0]',
        message: expect.stringContaining('b → c → b'),
      },
    ]);
  });

  it('should find a service that waits for itself, and cycles through links', () => {
    expect(check('services: { a: { image: x, depends_on: [a] } }').said).toEqual(['1:41 ERROR dependency-cycle']);
    const linked = 'services:\n  a: { image: x, links: ["b:db"] }\n  b: { image: x, network_mode: "service:a" }';
    expect(check(linked).said).toEqual(['3:18 ERROR dependency-cycle']);
  });

  it('should propose the nearest name', () => {
    const { findings } = check('services: { database: { image: x }, a: { image: x, depends_on: [databse] } }');
    expect(findings).toMatchObject([{ rule: 'dependency-undefined', suggestion: 'Did you mean "database"?' }]);
  });

  it.each([
    ['image: x', undefined, 'WARNING dependency-health'],
    ['image: x, command: x', 'PROCESS', 'ERROR dependency-health'],
    ['image: x, healthcheck: { disable: true }', undefined, 'WARNING dependency-health'],
    ['command: x, healthcheck: { disable: true }', 'PROCESS', 'ERROR dependency-health'],
    ['command: x', undefined, 'ERROR dependency-health'],
    ['image: x, healthcheck: { test: x }', undefined, null],
  ] as const)('should say of waiting for the health of { %s } on %s: %s', (db, runtime, expected) => {
    const text = `services:\n  a: { command: x, depends_on: { db: { condition: service_healthy } } }\n  db: { ${db} }`;
    const said = check(text, { runtime: runtime ?? null }).said.filter((line) => line.includes('dependency'));
    expect(said).toEqual(expected ? [`2:34 ${expected}`] : []);
  });

  it('should warn of waiting for the end of a service that never ends', () => {
    const text =
      'services:\n  a: { image: x, depends_on: { b: { condition: service_completed_successfully } } }\n  b: { image: x, restart: always }';
    expect(check(text).said).toEqual(['2:32 WARNING dependency-endless']);
  });
});

describe('dependencyOrder', () => {
  const stack = (dependencies: Record<string, string[]>) => ({
    services: Object.fromEntries(
      Object.entries(dependencies).map(([name, names]) => [
        name,
        { name, dependsOn: names.map((service) => ({ service })) } as unknown as ServiceModel,
      ]),
    ),
  });

  it('should put services after what they depend on, and otherwise sort by name', () => {
    expect(dependencyOrder(stack({ c: [], a: ['d'], d: ['c'], b: [] }))).toEqual(['b', 'c', 'd', 'a']);
    expect(dependencyOrder(stack({ a: ['ghost'] }))).toEqual(['a']);
  });

  it('should refuse a cycle', () => {
    expect(() => dependencyOrder(stack({ a: ['b'], b: ['a'] }))).toThrow(RangeError);
  });

  it('should order any graph without cycles, whatever the order in which it is given', () => {
    const graphs = fc.array(fc.array(fc.nat(20), { maxLength: 5 }), { maxLength: 20 });
    fc.assert(
      fc.property(graphs, (graph) => {
        const dependencies = graph.map(
          (targets, index) =>
            [
              `s${index}`,
              [...new Set(targets.filter((target) => target < index))].map((target) => `s${target}`),
            ] as const,
        );
        const order = dependencyOrder(stack(Object.fromEntries(dependencies)));
        expect(order).toEqual(dependencyOrder(stack(Object.fromEntries(dependencies.toReversed()))));
        expect(order).toHaveLength(graph.length);
        for (const [name, targets] of dependencies) {
          for (const target of targets) expect(order.indexOf(target)).toBeLessThan(order.indexOf(name));
        }
      }),
    );
  });
});
