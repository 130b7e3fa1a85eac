// Every call of OpenAI's client for Node that the daemon serves: `node official.mjs URL KEY MODEL DIRECTORY`, which has node_modules with
// openai and zod. Each prints a line {"call", "problem"}. tests/e2e/inference/test_official.py runs this.
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import assert from "node:assert";

const [URL, KEY, MODEL, DIRECTORY] = process.argv.slice(2);
const require = createRequire(DIRECTORY + "/");
const OpenAI = require("openai").OpenAI;
const { zodResponseFormat, zodTextFormat, zodFunction } = require("openai/helpers/zod");
const { z } = require("zod");
const client = new OpenAI({ baseURL: URL + "/v1", apiKey: KEY, maxRetries: 0 });
const ASK = [{ role: "user", content: "Where is my parcel?" }];
const PARAMETERS = { type: "object", properties: { city: { enum: ["Paris", "Rome"] } }, required: ["city"], additionalProperties: false };
const TOOL = { type: "function", function: { name: "get_weather", strict: true, parameters: PARAMETERS } };
const FLAT = { type: "function", name: "get_weather", strict: true, parameters: PARAMETERS };
const Reply = z.object({ count: z.number().int().min(0).max(9), sure: z.boolean() });
const EXAMPLES = Array.from({ length: 12 }, (_, i) => JSON.stringify({ messages: [...ASK, { role: "assistant", content: `Here ${i}.` }] }) + "\n").join("");
const isCity = (text) => assert(["Paris", "Rome"].includes(JSON.parse(text).city));
const upload = async () => client.files.create({ file: await require("openai").toFile(Buffer.from(EXAMPLES), "a.jsonl"), purpose: "fine-tune" });
const all = async (page) => { const found = []; for await (const item of page) found.push(item); return found; };

const calls = {
  async models_list() { assert((await all(client.models.list())).some((m) => m.id === MODEL)); },
  async models_retrieve() { assert.equal((await client.models.retrieve(MODEL)).id, MODEL); },
  async files_create_retrieve_list_content_delete() {
    const file = await upload();
    assert.equal((await client.files.retrieve(file.id)).bytes, EXAMPLES.length);
    assert((await all(client.files.list())).some((f) => f.id === file.id));
    assert.equal(await (await client.files.content(file.id)).text(), EXAMPLES);
    assert((await client.files.delete(file.id)).deleted);
  },
  async fine_tuning_jobs_create_retrieve_list_events_checkpoints() {
    const file = await upload(), base = (await all(client.models.list())).find((m) => m.owned_by === "adapterd").id;
    let job = await client.fineTuning.jobs.create({ training_file: file.id, model: base, suffix: "node", seed: 1, lora: { r: 2 },
      method: { type: "supervised", supervised: { hyperparameters: { n_epochs: 1, batch_size: 4 } } } });
    while (["validating_files", "queued", "running"].includes(job.status)) { await sleep(50); job = await client.fineTuning.jobs.retrieve(job.id); }
    assert.equal(job.status, "succeeded");
    assert((await all(client.fineTuning.jobs.list({ limit: 5 }))).some((j) => j.id === job.id));
    assert((await all(client.fineTuning.jobs.listEvents(job.id))).length > 0);
    await all(client.fineTuning.jobs.checkpoints.list(job.id));
  },
  async fine_tuning_jobs_cancel() {
    const file = await upload(), base = (await all(client.models.list())).find((m) => m.owned_by === "adapterd").id;
    let job = await client.fineTuning.jobs.create({ training_file: file.id, model: base, suffix: "nodelong", training: { n_epochs: 1000 }, lora: { r: 2 } });
    await client.fineTuning.jobs.cancel(job.id);
    while (job.status !== "cancelled") { await sleep(50); job = await client.fineTuning.jobs.retrieve(job.id); }
  },
  async completions_create() {
    const answer = await client.completions.create({ model: MODEL, prompt: ["Hello", "Hi"], n: 2, max_tokens: 6, logprobs: 2 });
    assert.equal(answer.choices.length, 4);
  },
  async completions_create_stream() {
    let text = "";
    for await (const chunk of await client.completions.create({ model: MODEL, prompt: "Hello", max_tokens: 6, stream: true, ignore_eos: true })) text += chunk.choices[0]?.text ?? "";
    assert(text);
  },
  async chat_completions_create() {
    const answer = await client.chat.completions.create({ model: MODEL, messages: ASK, max_completion_tokens: 8, n: 2, ignore_eos: true, logprobs: true, top_logprobs: 2, user: "u" });
    assert(answer.choices.length === 2 && answer.choices[0].logprobs.content[0].top_logprobs.length === 2);
  },
  async chat_completions_create_stream() {
    let usage = null, text = "";
    for await (const chunk of await client.chat.completions.create({ model: MODEL, messages: ASK, max_tokens: 8, stream: true, stream_options: { include_usage: true }, ignore_eos: true })) {
      text += chunk.choices[0]?.delta.content ?? ""; usage = chunk.usage ?? usage;
    }
    assert(text && usage.completion_tokens === 8);
  },
  async chat_completions_stream() {
    const stream = client.chat.completions.stream({ model: MODEL, messages: ASK, max_tokens: 8, ignore_eos: true });
    assert((await stream.finalChatCompletion()).choices[0].message.content);
  },
  async chat_completions_create_tools() {
    const answer = await client.chat.completions.create({ model: MODEL, messages: ASK, tools: [TOOL], tool_choice: "required", parallel_tool_calls: false });
    const [one] = answer.choices[0].message.tool_calls;
    isCity(one.function.arguments);
    await client.chat.completions.create({ model: MODEL, tools: [TOOL], max_tokens: 4,
      messages: [...ASK, answer.choices[0].message, { role: "tool", tool_call_id: one.id, content: "Sunny" }] });
  },
  async chat_completions_stream_tools() {
    const stream = client.chat.completions.stream({ model: MODEL, messages: ASK, tools: [TOOL], tool_choice: "required", parallel_tool_calls: false });
    isCity((await stream.finalChatCompletion()).choices[0].message.tool_calls[0].function.arguments);
  },
  async chat_completions_run_tools() {
    const seen = [];
    const runner = client.chat.completions.runTools({ model: MODEL, messages: ASK, max_tokens: 200, tool_choice: { type: "function", function: { name: "get_weather" } },
      tools: [zodFunction({ name: "get_weather", parameters: z.object({ city: z.enum(["Paris", "Rome"]) }), function: (args) => { seen.push(args.city); return "Sunny"; } })] });
    await runner.done();
    assert(["Paris", "Rome"].includes(seen[0]));
  },
  async chat_completions_parse() {
    const answer = await client.chat.completions.parse({ model: MODEL, messages: ASK, response_format: zodResponseFormat(Reply, "reply") });
    Reply.parse(answer.choices[0].message.parsed);
  },
  async embeddings_create() {
    const packed = await client.embeddings.create({ model: MODEL, input: ["Hello", "Hi"] }), plain = await client.embeddings.create({ model: MODEL, input: "Hello", encoding_format: "float" });
    assert(packed.data.length === 2 && Math.abs(packed.data[0].embedding[0] - plain.data[0].embedding[0]) < 1e-6);
  },
  async responses_create() {
    const answer = await client.responses.create({ model: MODEL, instructions: "Be brief.", input: "Where is my parcel?", metadata: { a: "b" }, store: false, temperature: 0 });
    assert(answer.status === "completed" && answer.output_text && answer.metadata.a === "b");
  },
  async responses_create_stream() {
    let text = "", last = null;
    for await (const event of await client.responses.create({ model: MODEL, input: "Hello", max_output_tokens: 6, stream: true, ignore_eos: true })) {
      if (event.type === "response.output_text.delta") text += event.delta;
      last = event;
    }
    assert(["response.completed", "response.incomplete"].includes(last.type) && last.response.output[0].content[0].text === text);
  },
  async responses_stream() {
    const final = await client.responses.stream({ model: MODEL, input: "Hello", temperature: 0 }).finalResponse();
    assert(final.output_text);
  },
  async responses_parse() {
    Reply.parse((await client.responses.parse({ model: MODEL, input: "Hello", text: { format: zodTextFormat(Reply, "reply") } })).output_parsed);
  },
  async responses_tools() {
    const history = [{ role: "user", content: "What is the weather?" }];
    const answer = await client.responses.create({ model: MODEL, input: history, tools: [FLAT], tool_choice: "required", parallel_tool_calls: false });
    const one = answer.output.find((item) => item.type === "function_call");
    isCity(one.arguments);
    await client.responses.create({ model: MODEL, tools: [FLAT], max_output_tokens: 4,
      input: [...history, ...answer.output, { type: "function_call_output", call_id: one.call_id, output: "Sunny" }] });
  },
  async responses_stream_tools() {
    const final = await client.responses.stream({ model: MODEL, input: "Hello", tools: [FLAT], tool_choice: "required", parallel_tool_calls: false }).finalResponse();
    isCity(final.output.find((item) => item.type === "function_call").arguments);
  },
  async errors() {
    const raises = async (name, code, promise) => { try { await promise; } catch (e) { assert.deepEqual([e.constructor.name, e.code], [name, code]); return; } assert.fail(name); };
    await raises("AuthenticationError", "invalid_api_key", new OpenAI({ baseURL: URL + "/v1", apiKey: "wrong", maxRetries: 0 }).models.retrieve(MODEL));
    await raises("NotFoundError", "model_not_found", client.chat.completions.create({ model: "nobody", messages: ASK }));
    await raises("BadRequestError", "unsupported_value", client.responses.create({ model: MODEL, input: "Hi", previous_response_id: "resp_1" }));
  },
};

for (const [call, run] of Object.entries(calls)) {
  let problem = null;
  try { await run(); } catch (e) { problem = `${e.constructor.name}: ${e.message}`.slice(0, 1000); }
  console.log(JSON.stringify({ call, problem }));
}
