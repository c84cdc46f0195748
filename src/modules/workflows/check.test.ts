import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDefinition } from './check.ts';
import { MAX_DEFINITION_BYTES, MAX_STEPS } from './definition.ts';

/** Deploys to staging, lets an agent look, asks, deploys to production, and goes back where that fails. */
const RELEASE = `
inputs:
  stackId: { type: string }
  staging: { type: string }
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
    ['nothing', null, ['']],
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
      ['concurrency.key: it reads the step a'],
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
