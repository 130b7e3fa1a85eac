"""Every call of OpenAI's client for Python that the daemon serves, one after the other: `official.py URL KEY MODEL`. Each prints a line
{"call", "problem"}; problem null where all was as it should be. tests/e2e/inference/test_official.py runs this."""
import asyncio
import json
import sys
import time

import openai
import pydantic

URL, KEY, MODEL = sys.argv[1:4]
client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0)
ASK = [{"role": "user", "content": "Where is my parcel?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": PARAMETERS}}
FLAT = {"type": "function", "name": "get_weather", "strict": True, "parameters": PARAMETERS}
EXAMPLES = "".join(json.dumps({"messages": [*ASK, {"role": "assistant", "content": f"Here {i}."}]}) + "\n" for i in range(12))
CALLS = []


class Reply(pydantic.BaseModel):
    count: int = pydantic.Field(ge=0, le=9)
    sure: bool


def call(function):
    CALLS.append(function)
    return function


def is_valid(answer):
    """As pydantic reads it strictly, not only as the client takes what comes."""
    type(answer).model_validate(answer.to_dict())
    return answer


# ---- models, files, jobs ----

@call
def models_list():
    assert MODEL in {model.id for model in client.models.list()}


@call
def models_retrieve():
    assert is_valid(client.models.retrieve(MODEL)).id == MODEL


@call
def files_create_retrieve_list_content_delete():
    file = is_valid(client.files.create(file=("a.jsonl", EXAMPLES.encode()), purpose="fine-tune"))
    assert client.files.retrieve(file.id).bytes == len(EXAMPLES) and file.id in {f.id for f in client.files.list()}
    assert client.files.content(file.id).text == EXAMPLES
    assert client.files.delete(file.id).deleted


@call
def fine_tuning_jobs_create_retrieve_list_events_checkpoints():
    file = client.files.create(file=("a.jsonl", EXAMPLES.encode()), purpose="fine-tune")
    base = next(m.id for m in client.models.list() if m.owned_by == "adapterd")
    job = is_valid(client.fine_tuning.jobs.create(training_file=file.id, model=base, suffix="made", seed=1, method={
        "type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 4}}}, extra_body={"lora": {"r": 2}}))
    while client.fine_tuning.jobs.retrieve(job.id).status in ("validating_files", "queued", "running"):
        time.sleep(0.05)
    done = is_valid(client.fine_tuning.jobs.retrieve(job.id))
    assert done.status == "succeeded", done
    assert job.id in {j.id for j in client.fine_tuning.jobs.list(limit=5)}
    assert [e.message for e in client.fine_tuning.jobs.list_events(job.id)]
    list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert client.chat.completions.create(model=done.fine_tuned_model, messages=ASK, max_tokens=4).choices


@call
def fine_tuning_jobs_pause_resume_cancel():
    file = client.files.create(file=("a.jsonl", EXAMPLES.encode()), purpose="fine-tune")
    base = next(m.id for m in client.models.list() if m.owned_by == "adapterd")
    job = client.fine_tuning.jobs.create(training_file=file.id, model=base, suffix="long", extra_body={"training": {"n_epochs": 1000}, "lora": {"r": 2}})
    assert client.fine_tuning.jobs.pause(job.id).status in ("paused", "queued", "running")
    while client.fine_tuning.jobs.retrieve(job.id).status != "paused":
        time.sleep(0.05)
    client.fine_tuning.jobs.resume(job.id)
    client.fine_tuning.jobs.cancel(job.id)
    while client.fine_tuning.jobs.retrieve(job.id).status != "cancelled":
        time.sleep(0.05)


# ---- completions ----

@call
def completions_create():
    answer = is_valid(client.completions.create(model=MODEL, prompt=["Hello", "Hi"], n=2, best_of=3, max_tokens=6, logprobs=2, echo=False, stop=["\n\n"], seed=1))
    assert len(answer.choices) == 4 and answer.usage.completion_tokens > 0


@call
def completions_create_stream():
    chunks = list(client.completions.create(model=MODEL, prompt="Hello", max_tokens=6, stream=True, stream_options={"include_usage": True},
                                            extra_body={"ignore_eos": True}))
    assert chunks[-1].usage.completion_tokens == 6 and "".join(c.choices[0].text for c in chunks if c.choices)


# ---- chats ----

@call
def chat_completions_create():
    answer = is_valid(client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=8, n=2, temperature=0.5, seed=1, logprobs=True, top_logprobs=2,
                                                     presence_penalty=0.1, logit_bias={"5": 1}, user="u", metadata={"a": "b"}, store=False))
    assert len(answer.choices) == 2 and answer.choices[0].logprobs.content[0].top_logprobs and answer.choices[0].message.content


@call
def chat_completions_create_stream():
    text, usage = "", None
    for chunk in client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8, stream=True, stream_options={"include_usage": True},
                                                extra_body={"ignore_eos": True}):
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        usage = chunk.usage or usage
    assert text and usage.completion_tokens == 8


@call
def chat_completions_stream():
    with client.chat.completions.stream(model=MODEL, messages=ASK, seed=1) as stream:  # which raises where an answer is cut short
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds and final.choices[0].message.content


@call
def chat_completions_create_tools():
    answer = is_valid(client.chat.completions.create(model=MODEL, messages=ASK, tools=[TOOL], tool_choice="required", parallel_tool_calls=False))
    [one] = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls" and json.loads(one.function.arguments)["city"] in ("Paris", "Rome")
    back = [*ASK, answer.choices[0].message, {"role": "tool", "tool_call_id": one.id, "content": "Sunny"}]
    assert client.chat.completions.create(model=MODEL, messages=back, tools=[TOOL], max_tokens=4).choices


@call
def chat_completions_stream_tools():
    with client.chat.completions.stream(model=MODEL, messages=ASK, tools=[TOOL], tool_choice="required", parallel_tool_calls=False) as stream:
        kinds = {event.type for event in stream}
        [one] = stream.get_final_completion().choices[0].message.tool_calls
    assert "tool_calls.function.arguments.delta" in kinds and one.function.parsed_arguments["city"] in ("Paris", "Rome")


@call
def chat_completions_parse():
    parsed = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Reply).choices[0].message.parsed
    assert isinstance(parsed, Reply)


@call
def chat_completions_parse_tools():
    class Weather(pydantic.BaseModel):
        days: int = pydantic.Field(ge=1, le=9)

    answer = client.chat.completions.parse(model=MODEL, messages=ASK, tools=[openai.pydantic_function_tool(Weather)], tool_choice="required", parallel_tool_calls=False)
    assert isinstance(answer.choices[0].message.tool_calls[0].function.parsed_arguments, Weather)


@call
def chat_completions_json_object():
    answer = client.chat.completions.create(model=MODEL, messages=ASK, response_format={"type": "json_object"}, max_tokens=300, temperature=0.3)
    assert answer.choices[0].finish_reason == "length" or isinstance(json.loads(answer.choices[0].message.content), dict)


@call
def chat_completions_with_raw_response():
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK, max_tokens=2)
    assert raw.parse().id == raw.headers["x-request-id"]


@call
def chat_completions_async():
    async def ask():
        async with openai.AsyncOpenAI(base_url=URL + "/v1", api_key=KEY) as own:
            return await asyncio.gather(*(own.chat.completions.create(model=MODEL, messages=ASK, max_tokens=4, seed=i) for i in range(8)))

    assert len({answer.id for answer in asyncio.run(ask())}) == 8


# ---- embeddings ----

@call
def embeddings_create():
    answer = is_valid(client.embeddings.create(model=MODEL, input=["Hello", "Hi"]))
    floats = client.embeddings.create(model=MODEL, input="Hello", encoding_format="float")
    assert abs(answer.data[0].embedding[0] - floats.data[0].embedding[0]) < 1e-6 and len(answer.data) == 2
    assert len(client.embeddings.create(model=MODEL, input="Hello", dimensions=4).data[0].embedding) == 4


# ---- responses ----

@call
def responses_create():
    answer = is_valid(client.responses.create(model=MODEL, instructions="Be brief.", input="Where is my parcel?", metadata={"a": "b"}, temperature=0,
                                              reasoning={"effort": "low"}, store=False, truncation="auto", include=["message.output_text.logprobs"], top_logprobs=1))
    assert answer.status == "completed" and answer.output_text and answer.metadata == {"a": "b"} and answer.output[0].content[0].logprobs


@call
def responses_create_stream():
    events = [is_valid(event) for event in client.responses.create(model=MODEL, input="Hello", max_output_tokens=6, stream=True)]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[-1].type in ("response.completed", "response.incomplete") and events[-1].response.output_text == text


@call
def responses_stream():
    with client.responses.stream(model=MODEL, input="Hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text


@call
def responses_parse():
    assert isinstance(client.responses.parse(model=MODEL, input="Hello", text_format=Reply).output_parsed, Reply)


@call
def responses_stream_parse():
    with client.responses.stream(model=MODEL, input="Hello", text_format=Reply) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Reply)


@call
def responses_tools():
    history = [{"role": "user", "content": "What is the weather?"}]
    answer = is_valid(client.responses.create(model=MODEL, input=history, tools=[FLAT], tool_choice="required", parallel_tool_calls=False))
    [one] = [item for item in answer.output if item.type == "function_call"]
    assert json.loads(one.arguments)["city"] in ("Paris", "Rome")
    history += [*answer.output, {"type": "function_call_output", "call_id": one.call_id, "output": "Sunny"}]
    assert client.responses.create(model=MODEL, input=history, tools=[FLAT], max_output_tokens=4).output


@call
def responses_stream_tools():
    with client.responses.stream(model=MODEL, input="Hello", tools=[FLAT], tool_choice={"type": "function", "name": "get_weather"}, parallel_tool_calls=False) as stream:
        kinds = {event.type for event in stream}
        [one] = stream.get_final_response().output
    assert "response.function_call_arguments.delta" in kinds and one.parsed_arguments["city"] in ("Paris", "Rome")


# ---- what goes wrong is what the client raises ----

def raises(error, code, function):
    try:
        function()
    except error as found:
        assert found.code == code, found
        return
    raise AssertionError(f"no {error.__name__}")


@call
def errors():
    raises(openai.AuthenticationError, "invalid_api_key", lambda: openai.OpenAI(base_url=URL + "/v1", api_key="wrong", max_retries=0).models.list())
    raises(openai.NotFoundError, "model_not_found", lambda: client.chat.completions.create(model="nobody", messages=ASK))
    raises(openai.BadRequestError, "context_length_exceeded", lambda: client.completions.create(model=MODEL, prompt=5000 * [20]))
    raises(openai.BadRequestError, "unsupported_value", lambda: client.responses.create(model=MODEL, input="Hi", previous_response_id="resp_1"))
    raises(openai.BadRequestError, "unsupported_value", lambda: client.responses.create(model=MODEL, input="Hi", tools=[{"type": "web_search"}]))
    raises(openai.NotFoundError, "file_not_found", lambda: client.files.retrieve("file-nobody"))
    raises(openai.NotFoundError, "not_found", lambda: client.responses.retrieve("resp_1"))


def main():
    for function in CALLS:
        try:
            function()
            problem = None
        except Exception as error:  # any of them is what is looked for
            problem = f"{type(error).__name__}: {error}"[:1000]
        print(json.dumps({"call": function.__name__, "problem": problem}), flush=True)


main()
