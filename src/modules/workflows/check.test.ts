import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDefinition } from './check.ts';
import { MAX_DEFINITION_BYTES, MAX_STEPS } from './definition.ts';

/** Deploys to staging, lets an agent look, asks, deploys to production, and goes back where that fails. */
const RELEASE = `
inputs:
  stackId: { type: string, default: some-stack }
  staging: { type: string, default: some-environment }
  production: { type: string, default: "" }
triggers:
  - { kind: cron, schedule: "30 3 * * 1-5" }
  - { kind: event, event: deployment.failed, where: 'event.data.reason.contains("image")' }
  - { kind: webhook, input: { stackId: "\${{ body.stack }}" } }
concurrency: { key: "\${{ inputs.stackId }}", policy: cancel-running }
steps:
  staging: { kind: deploy, stackId: "\${{ inputs.stackId }}", environmentId: "\${{ inputs.staging }}" }
  review:
    kind: agent
    needs: [staging]
    agentId: some-id
    input: "Review the logs of \${{ steps.staging.output.deploymentId }}."
    retry: { attempts: 3 }
  approve: { kind: approval, needs: [review], message: "Go live? \${{ steps.review.output.text }}" }
  production:
    kind: deploy
    needs: [approve]
    if: steps.approve.output.approved && inputs.production != ""
    stackId: "\${{ inputs.stackId }}"
    environmentId: "\${{ inputs.production }}"
    continueOnError: true
  back:
    kind: rollback
    needs: [production]
    if: steps.production.state == "FAILED"
    deploymentId: "\${{ steps.production.output.deploymentId }}"
  tell:
    kind: http
    needs: [back]
    forEach: '["one", "two"]'
    method: POST
    url: "https://example.org/\${{ item }}"
    body: { text: "went back", number: "\${{ index + 1 }}" }
output: { deployment: "\${{ steps.production.output }}" }
`;

const faultsOf = (definition: unknown) =>
  checkDefinition(definition).faults.map(({ path, message }) => `${path.join('.')}: ${message}`);
const steps = (given: object) => ({ steps: given });
const wait = (more: object = {}) => ({ kind: 'delay', seconds: 1, ...more });

describe('a definition of a workflow', () => {
  it('should be read from YAML, with its defaults', () => {
    const { definition, faults } = checkDefinition(RELEASE);
    expect(faults).toEqual([]);
    expect(definition!.steps.review).toMatchObject({ retry: { attempts: 3, delaySeconds: 1, factor: 2 } });
    expect(definition!.steps.staging).toMatchObject({ needs: [], continueOnError: false });
    expect(definition!.triggers[0]).toMatchObject({ missed: 'run-once' });
  });

  it('should be read from JSON alike', () => {
    const { definition } = checkDefinition(RELEASE);
    expect(checkDefinition(JSON.parse(JSON.stringify(definition)))).toEqual({ definition, faults: [] });
  });

  it.each<[string, unknown, string[]]>([
    ['nothing', null, [': has to be given']],
    ['an empty text', '', [': is empty']],
    ['a text of remarks alone', '# later', [': is empty']],
    ['two documents', 'steps: {}\n---\nsteps: {}', [': has a second document, from line 2 on: give one']],
    ['no steps', { steps: {} }, ['steps: must have a step']],
    ['YAML that is none', 'steps: [', ['']],
    ['a field that there is not', { ...steps({ a: wait() }), step: 1 }, ['step: there is no such field here']],
    ['a field of another kind', steps({ a: wait({ url: 'x' }) }), ['steps.a.url: there is no such field here']],
    ['an unknown kind', steps({ a: { kind: 'deplyo' } }), ['steps.a.kind: "deplyo" is none that there is']],
    ['no kind', steps({ a: {} }), ['steps.a.kind: has to be given']],
    ['a name that is none', steps({ 'a-b': wait() }), ['steps.a-b: must begin with a–z']],
    ['a name of the language', steps({ loop: wait() }), ['steps.loop: is a word of the expression language']],
    ['an unknown step', steps({ a: wait({ needs: ['b'] }) }), ['steps.a.needs.0: there is no step "b"']],
    ['a step twice', steps({ b: wait(), a: wait({ needs: ['b', 'b'] }) }), ['steps.a.needs.1: "b" stands there twice']],
    [
      'a step that needs itself',
      steps({ a: wait({ needs: ['a'] }) }),
      ['steps.a.needs: these steps wait for each other: a → a'],
    ],
    [
      'a circle',
      steps({ a: wait({ needs: ['c'] }), b: wait({ needs: ['a'] }), c: wait({ needs: ['b'] }) }),
      ['steps.a.needs: these steps wait for each other: a → c → b → a'],
    ],
    ['an expression that is none', steps({ a: wait({ if: '1 +' }) }), ['steps.a.if: Unexpected token: EOF']],
    [
      'an expression of another type',
      steps({ a: wait({ if: '1 + 1' }) }),
      ['steps.a.if: must be of the type bool, is int'],
    ],
    ['an expression in braces', steps({ a: wait({ if: '${{ true }}' }) }), ['steps.a.if: is an expression by itself']],
    [
      'a list that is none',
      steps({ a: wait({ forEach: '"x"' }) }),
      ['steps.a.forEach: must be of the type list, is string'],
    ],
    ['a type error', steps({ a: wait({ if: '"x" + 1 == 2' }) }), ['steps.a.if: no such overload: string + int']],
    ['an unknown input', steps({ a: wait({ if: 'inputs.x' }) }), ['steps.a.if: No such key: x']],
    ['an unknown name', steps({ a: wait({ if: 'env.HOME == ""' }) }), ['steps.a.if: Unknown variable: env']],
    ['an item of no list', steps({ a: wait({ seconds: '${{ item }}' }) }), ['steps.a.seconds: Unknown variable: item']],
    ['braces that stay open', steps({ a: wait({ seconds: '${{ 1 }' }) }), ['steps.a.seconds: "${{" is not closed']],
    ['a number with text', steps({ a: wait({ seconds: '${{ 1 }} s' }) }), ['steps.a.seconds: must be a number']],
    ['a number that is a text', steps({ a: wait({ seconds: '5 s' }) }), ['steps.a.seconds: must be a number']],
    [
      'a number of another type',
      steps({ a: wait({ seconds: '${{ "x" }}' }) }),
      ['steps.a.seconds: must be of the type int or double, is string'],
    ],
    ['a step that is not there', steps({ a: wait({ if: 'steps.b.output' }) }), ['steps.a.if: there is no step "b"']],
    [
      'a step that may not have ended',
      steps({ a: wait({ if: 'steps["b"].output.ok' }), b: wait() }),
      ['steps.a.if: it reads the step b, which may not have ended by then: put that into "needs"'],
    ],
    [
      'a schedule with seconds',
      { ...steps({ a: wait() }), triggers: [{ kind: 'cron', schedule: '0 0 3 * * *' }] },
      ['triggers.0.schedule: must have five fields'],
    ],
    [
      'a schedule that is none',
      { ...steps({ a: wait() }), triggers: [{ kind: 'cron', schedule: '61 * * * *' }] },
      ['triggers.0.schedule: '],
    ],
    [
      'a schedule that never comes',
      { ...steps({ a: wait() }), triggers: [{ kind: 'cron', schedule: '0 0 31 2 *' }] },
      ['triggers.0.schedule: never comes round'],
    ],
    [
      'a default of another type',
      { ...steps({ a: wait() }), inputs: { n: { type: 'integer', default: 1.5 } } },
      ['inputs.n.default: must be of the type integer'],
    ],
    [
      'a key that reads a step',
      { ...steps({ a: wait() }), concurrency: { key: '${{ steps.a.output }}' } },
      [
        'concurrency.key: it reads the step a: a key is made before any step begins, of inputs alone, in `steps.a.output`',
      ],
    ],
    [
      'a key of the run itself',
      { ...steps({ a: wait() }), concurrency: { key: '${{ execution.id }}' } },
      ['concurrency.key: Unknown variable: execution'],
    ],
    [
      'an output schema that is none',
      steps({ a: { kind: 'agent', agentId: 'x', input: 'x', outputSchema: { type: 'strnig' } } }),
      ['steps.a.outputSchema: is no JSON Schema'],
    ],
    [
      'triggers without what a run has to be given',
      {
        ...{ inputs: { who: { type: 'string' }, n: { type: 'integer', default: 1 } }, ...steps({ a: wait() }) },
        triggers: [
          { kind: 'cron', schedule: '0 3 * * *' },
          { kind: 'webhook', input: { n: '${{ body.n }}' } },
          { kind: 'event', event: 'stack.created', input: { who: '${{ event.data.name }}' } },
        ],
      },
      ['triggers.0.input.who: has to be given: string', 'triggers.1.input.who: has to be given: string'],
    ],
    [
      'triggers with what no run takes',
      {
        ...{ inputs: { who: { type: 'string' }, n: { type: 'integer', default: 1 } }, ...steps({ a: wait() }) },
        triggers: [
          { kind: 'webhook', input: { who: 'x', n: 'one', what: '${{ body.what }}' } },
          { kind: 'cron', schedule: '0 3 * * *', input: { who: '$${{ as it is }}', n: '${{ 1 }}' } },
        ],
      },
      ['triggers.0.input.what: the workflow has no such input', 'triggers.0.input.n: must be of the type integer'],
    ],
    [
      'a trigger that reads a step',
      {
        ...{ inputs: { n: { type: 'integer' } }, ...steps({ a: wait() }) },
        triggers: [{ kind: 'webhook', input: { n: '${{ steps.a.output }}' } }],
      },
      ['triggers.0.input.n: it reads the step a: a trigger comes before any step begins'],
    ],
    [
      'expressions in objects and lists',
      {
        ...steps({
          a: { kind: 'http', url: 'x', headers: { h: '${{ x }}' }, body: { list: ['${{ 1 }} ${{ y + 1 }} ${{ 2 }}'] } },
          b: { kind: 'workflow', workflowId: 'x', input: { deep: { er: '${{ z }}' } } },
        }),
        output: { key: { inner: '${{ steps.a.x }}' } },
      },
      [
        'steps.a.headers.h: Unknown variable: x, at character 1 of `x`',
        'steps.a.body.list.0: Unknown variable: y, at character 1 of `y + 1`',
        'steps.b.input.deep.er: Unknown variable: z, at character 1 of `z`',
        'output.key.inner: No such key: x, at character 9 of `steps.a.x`',
      ],
    ],
    ['too many attempts', steps({ a: wait({ retry: { attempts: 99 } }) }), ['steps.a.retry.attempts: ']],
    [
      'too many steps',
      steps(Object.fromEntries(Array.from({ length: MAX_STEPS + 1 }, (_, at) => [`s${at}`, wait()]))),
      ['steps: must have at most 100 steps'],
    ],
    ['too much text', { ...steps({ a: wait() }), output: 'x'.repeat(MAX_DEFINITION_BYTES) }, [': it is longer than']],
  ])('should be refused with what is wrong: %s', (_, definition, messages) => {
    const faults = faultsOf(definition);
    expect(faults).toHaveLength(messages.length);
    for (const [index, message] of messages.entries()) expect(faults[index]).toContain(message);
    expect(checkDefinition(definition).definition).toBeNull();
  });

  it('should be told of every fault at once, whatever else is wrong', () => {
    const faults = faultsOf({
      inputs: { n: { type: 'integer' }, m: { type: 'money' } },
      steps: {
        a: wait({ if: 'inputs.n' }),
        b: { kind: 'http' },
        c: wait({ needs: ['nobody'], seconds: '${{ inputs.x }}' }),
      },
    });
    expect(faults.map((fault) => fault.split(':')[0]).sort()).toEqual([
      'inputs.m.type',
      'steps.a.if',
      'steps.b.url',
      'steps.c.needs.0',
      'steps.c.seconds',
    ]);
  });

  it('should be told of what is wrong alone, and not of what only depends on it', () => {
    const faults = faultsOf({
      inputs: { m: { type: 'money' } },
      triggers: [{ kind: 'cron' }, { kind: 'webhook', input: { m: 1, x: 1 } }, { kind: 'webhok', input: { m: 1 } }],
      steps: {
        a: { kind: 'http', url: 1, body: '${{ inputs.none }}' },
        b: { kind: 'deplyo', needs: ['a'] },
        c: wait({ needs: 'b', forEach: ['x'], seconds: '${{ item + steps.b.output + inputs.m }}' }),
      },
      output: '${{ steps.a.output }}',
    });
    expect(faults.map((fault) => fault.split(':')[0]).sort()).toEqual([
      'inputs.m.type',
      'steps.a.body',
      'steps.a.url',
      'steps.b.kind',
      'steps.c.forEach',
      'steps.c.needs',
      'triggers.0.schedule',
      'triggers.1.input.x',
      'triggers.2.kind',
    ]);
  });

  it('should show as much of a long expression as stands around its fault', () => {
    const many = '1 + '.repeat(100);
    const [fault] = faultsOf({ ...steps({ a: wait() }), output: `\${{ ${many}nobody + ${many}1 }}` });
    expect(fault).toMatch(/^output: Unknown variable: nobody, at character 401 of `…[^`]* \+ nobody \+ [^`]*…`$/);
    expect(fault!.length).toBeLessThan(150);
  });

  it('should never throw, whatever it is given', () => {
    const json = fc.jsonValue({ maxDepth: 4 });
    const near = fc.record(
      {
        inputs: fc.dictionary(
          fc.constantFrom('a', 'b', '__proto__'),
          fc.oneof(json, fc.record({ type: fc.constantFrom('string', 'list') })),
        ),
        steps: fc.dictionary(
          fc.constantFrom('a', 'b', 'c', 'constructor', '__proto__'),
          fc.oneof(
            json,
            fc.record({
              kind: fc.constantFrom('delay', 'http'),
              needs: fc.array(fc.constantFrom('a', 'b', 'c')),
              seconds: json,
              if: fc.string(),
            }),
          ),
        ),
        triggers: fc.oneof(json, fc.array(fc.record({ kind: fc.constant('cron'), schedule: fc.string() }))),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(json, near, fc.string()), (given) => {
        const { definition, faults } = checkDefinition(given);
        expect(definition === null).toBe(faults.length > 0);
      }),
      { numRuns: 300 },
    );
  });
});
