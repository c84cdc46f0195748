import { createCircuitBreaker } from './circuit-breaker.ts';
import { echoModel } from './echo.ts';
import type { Mask, Model } from './model.ts';
import { openAiCompatibleModel } from './openai-compatible.ts';

/** Needs no provider. */
export const ECHO_MODEL = 'builtin/echo';
const BUILT_IN = 'builtin/';

export type ModelCatalogOptions = {
  /** Of a server of OpenAI's protocol, "https://openrouter.ai/api/v1"; null: there is none. */
  baseUrl: string | null;
  /** For whoever brings none of their own. */
  apiKey: string | null;
  /** For whoever names none; null: the echo. */
  defaultModel: string | null;
};

/** The models that this installation reaches. */
export type ModelCatalog = {
  defaultModel: string;
  /** Why a model cannot be used here, for users; null: it can. */
  problemOf(model: string): string | null;
  /** `apiKey` null: the installation's own; `mask` takes the key out of what errors quote. Call only for what has no problem. */
  open(model: string, apiKey: string | null, mask: Mask): Model;
};

export function createModelCatalog({ baseUrl, apiKey: ownKey, defaultModel }: ModelCatalogOptions): ModelCatalog {
  // One for the provider, whoever's key is used: where it fails, it fails for all.
  const guarded = createCircuitBreaker();
  return {
    defaultModel: baseUrl === null ? ECHO_MODEL : (defaultModel ?? ECHO_MODEL),
    problemOf(model) {
      if (model === ECHO_MODEL) return null;
      if (model.startsWith(BUILT_IN)) return `there is no ${model}: the one that is built in is ${ECHO_MODEL}`;
      if (baseUrl === null)
        return `this installation reaches no provider of models (LLM_BASE_URL is not set): only ${ECHO_MODEL} can be used`;
      return null;
    },
    open(model, apiKey, mask) {
      if (model === ECHO_MODEL || baseUrl === null) return echoModel;
      return guarded(openAiCompatibleModel({ baseUrl, apiKey: apiKey ?? ownKey, model, mask }));
    },
  };
}
