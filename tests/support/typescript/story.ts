// A memory's life, told with the client that is generated from /openapi.json. Each answer is checked by its types.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Memory = components["schemas"]["Memory"];
type NewMemories = components["schemas"]["NewMemories"];
type Problem = components["schemas"]["ProblemDetails"];

const { EMENDO_URL: baseUrl, EMENDO_KEY: key } = process.env;
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
const wait = { prefer: "wait=60" };

function given<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.data === undefined) {
    throw new Error(`${answer.response.status}: ${JSON.stringify(answer.error)}`);
  }
  return answer.data;
}

function refused(answer: { error?: Problem; response: Response }): string {
  if (answer.error === undefined) {
    throw new Error(`not refused: ${answer.response.status}`);
  }
  return `${answer.response.status} ${answer.error.code}`;
}

const added = given(
  await client.POST("/api/v1/memories", {
    params: { header: { ...wait, "idempotency-key": "story-1" } },
    body: {
      messages: "I dislike seafood.", user_id: "ana", infer: false, metadata: { topic: "food" },
    } satisfies NewMemories, // the client alone takes fields that the type does not have
  }),
);
if (!("results" in added)) {
  throw new Error("the job has not ended");
}
const memory_id = added.results[0]!.memory_id!;
const path = { memory_id };

const read = await client.GET("/api/v1/memories/{memory_id}", { params: { path } });
const memory: Memory = given(read);
const etag = read.response.headers.get("etag")!;

const change = { params: { path, header: { ...wait, "if-match": etag } }, body: { text: "I enjoy seafood." } };
given(await client.PATCH("/api/v1/memories/{memory_id}", change));
const stale = refused(await client.PATCH("/api/v1/memories/{memory_id}", change));

const hits = given(await client.POST("/api/v1/memories/search", { body: { query: "seafood", user_id: "ana" } }));
const page = given(await client.GET("/api/v1/memories", { params: { query: { user_id: "ana", limit: 5 } } }));
const history = given(await client.GET("/api/v1/memories/{memory_id}/history", { params: { path } }));
const malformed = await client.GET("/api/v1/memories", { params: { query: { user_id: "ana", limit: 0 } } });

given(await client.DELETE("/api/v1/memories/{memory_id}", { params: { path, header: wait, query: { hard: true } } }));
const gone = refused(await client.GET("/api/v1/memories/{memory_id}", { params: { path } }));

console.log(
  JSON.stringify({
    first: memory.memory,
    topic: memory.metadata.topic,
    created: Number.isNaN(Date.parse(memory.created_at)),
    etag,
    stale,
    found: hits.results[0]!.memory,
    version: page.results[0]!.version,
    total: page.total,
    events: history.results.map((entry) => entry.event),
    malformed: refused(malformed),
    field: malformed.error!.errors![0]!.field,
    gone,
  }),
);
