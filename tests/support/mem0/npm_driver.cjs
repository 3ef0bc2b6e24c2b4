// Makes the calls that stand on standard input with mem0's npm client, and prints an answer for each, as JSON lines.
const { MemoryClient } = require("mem0ai");
const readline = require("node:readline");

async function answer(call, state) {
  if (call.method === "construct") {
    state.client = new MemoryClient({ apiKey: call.key, host: process.env.GATEWAY });
    await state.client.ping();
    return null;
  }
  return (await state.client[call.method](...call.args)) ?? null;
}

async function main() {
  console.error = () => {};
  const state = {};
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let told;
    try {
      told = { result: await answer(JSON.parse(line), state) };
    } catch (error) {
      told = { error: { class: error.constructor.name, message: error.message } };
    }
    process.stdout.write(JSON.stringify(told) + "\n");
  }
}

main();
