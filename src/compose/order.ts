import type { StackModel } from './model.ts';

/**
 * The services' names, each after all that it depends on, otherwise by name. Dependencies that are not in the model are
 * passed over. Throws RangeError for a cycle, which a checked model does not have.
 */
export function dependencyOrder(model: Pick<StackModel, 'services'>): string[] {
  const waiting = new Map(
    Object.values(model.services).map(({ name, dependsOn }) => {
      const present = dependsOn.filter(({ service }) => Object.hasOwn(model.services, service));
      return [name, new Set(present.map(({ service }) => service))];
    }),
  );
  const order: string[] = [];
  while (waiting.size > 0) {
    const ready = [...waiting.keys()].filter((name) => waiting.get(name)!.size === 0).sort();
    if (ready.length === 0)
      throw new RangeError(`These services wait for each other: ${[...waiting.keys()].join(', ')}.`);
    for (const name of ready) waiting.delete(name);
    for (const dependencies of waiting.values()) for (const name of ready) dependencies.delete(name);
    order.push(...ready);
  }
  return order;
}
