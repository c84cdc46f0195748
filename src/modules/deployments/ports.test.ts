import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PortMapping, StackModel } from '../../compose/index.ts';
import { FREE_PORT_FIRST, FREE_PORT_LAST, type PortPlan, type PortSources, planPorts } from './ports.ts';

const mapping = (over: Partial<PortMapping>): PortMapping => ({
  target: 80,
  published: null,
  publishedEnd: null,
  hostIp: null,
  protocol: 'tcp',
  ...over,
});
const modelOf = (services: Record<string, { ports?: PortMapping[]; replicas?: number }>) =>
  ({
    services: Object.fromEntries(
      Object.entries(services).map(([name, { ports = [], replicas = 1 }]) => [name, { name, ports, replicas }]),
    ),
  }) as unknown as StackModel;
const sources = (model: StackModel, over: Partial<PortSources> = {}): PortSources => ({
  model,
  portForEach: true,
  former: {},
  ownerOf: () => null,
  isOurs: () => false,
  isFree: async () => true,
  random: () => 0,
  ...over,
});
const numbersOf = (plan: PortPlan) =>
  Object.values(plan)
    .flat(2)
    .map(({ published }) => published);

describe('fixed ports', () => {
  const model = modelOf({ web: { ports: [mapping({ published: 8080 })] } });

  it('should be taken as they are', async () => {
    const { plan, problems } = await planPorts(sources(model));
    expect(problems).toEqual([]);
    expect(plan).toEqual({ web: [[{ target: 80, published: 8080, host: '0.0.0.0', protocol: 'tcp' }]] });
  });

  it('should say who has them', async () => {
    const owned = await planPorts(sources(model, { ownerOf: () => 'the stack "x"' }));
    expect(owned.problems).toEqual(['service web: port 8080/tcp is taken by the stack "x"']);
    const strange = await planPorts(sources(model, { isFree: async () => false }));
    expect(strange.problems).toEqual(['service web: port 8080/tcp is already in use by another program on this host']);
    const ours = await planPorts(sources(model, { isFree: async () => false, isOurs: () => true }));
    expect(ours.problems).toEqual([]);
  });
});

describe('free ports', () => {
  it('should be one of the loopback address for a service that publishes nothing', async () => {
    const { plan } = await planPorts(sources(modelOf({ db: {} })));
    expect(plan.db).toEqual([
      [{ target: FREE_PORT_FIRST, published: FREE_PORT_FIRST, host: '127.0.0.1', protocol: 'tcp' }],
    ]);
  });

  it('should be kept, also while the service itself listens there, unless another took them', async () => {
    const model = modelOf({ db: {} });
    const former: PortPlan = {
      db: [[{ target: 25_000, published: 25_000, host: '127.0.0.1', protocol: 'tcp' }]],
    };
    const ours = {
      former,
      isFree: async (_host: string, port: number) => port !== 25_000,
      isOurs: (port: number) => port === 25_000,
    };
    expect(numbersOf((await planPorts(sources(model, ours))).plan)).toEqual([25_000]);
    expect(numbersOf((await planPorts(sources(model, { ...ours, isOurs: () => false }))).plan)).toEqual([
      FREE_PORT_FIRST,
    ]);
    const owned = { former, ownerOf: (port: number) => (port === 25_000 ? 'somebody' : null) };
    expect(numbersOf((await planPorts(sources(model, owned))).plan)).toEqual([FREE_PORT_FIRST]);
  });

  it('should be looked for in the range that was asked for, and say when that is full', async () => {
    const ports = [mapping({ published: 3000, publishedEnd: 3001 })];
    const two = await planPorts(sources(modelOf({ web: { ports, replicas: 2 } })));
    expect(numbersOf(two.plan)).toEqual([3000, 3001]);
    const three = await planPorts(sources(modelOf({ web: { ports, replicas: 3 } })));
    expect(three.problems).toEqual(['service web: no free port is left in 3000–3001']);
    const none = await planPorts(sources(modelOf({ db: {} }), { isFree: async () => false }));
    expect(none.problems).toEqual(['service db: no free port is left on this host']);
  });

  it('should never be given twice, nor collide with a fixed or a taken one', async () => {
    const service = fc.record({
      fixed: fc.option(fc.integer({ min: FREE_PORT_FIRST, max: FREE_PORT_FIRST + 5 }), { nil: null }),
      replicas: fc.integer({ min: 1, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(service, { maxLength: 5 }),
        fc.uniqueArray(fc.integer({ min: FREE_PORT_FIRST, max: FREE_PORT_FIRST + 20 })),
        fc.double({ min: 0, max: 0.9999, noNaN: true }),
        async (services, busy, random) => {
          const used = new Set<number>();
          const model = modelOf(
            Object.fromEntries(
              services.map(({ fixed, replicas }, index) => {
                const own = fixed !== null && !used.has(fixed) ? [mapping({ published: fixed })] : [];
                if (fixed !== null) used.add(fixed);
                return [`s${index}`, { ports: own, replicas: own.length > 0 ? 1 : replicas }];
              }),
            ),
          );
          const isFree = async (_host: string, port: number) => !busy.includes(port);
          const { plan, problems } = await planPorts(sources(model, { isFree, random: () => random }));
          if (problems.length > 0) return;
          const numbers = numbersOf(plan);
          expect(new Set(numbers).size).toBe(numbers.length);
          for (const number of numbers) {
            expect(busy).not.toContain(number);
            expect(number).toBeGreaterThanOrEqual(FREE_PORT_FIRST);
            expect(number).toBeLessThanOrEqual(FREE_PORT_LAST);
          }
        },
      ),
    );
  });
});
