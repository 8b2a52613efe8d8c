// A model that always says the same: node shim_model.mjs PORT_FILE TEXT. OpenAI-compatible, on loopback.
import { createServer } from "node:http"
import { writeFileSync } from "node:fs"

const [portFile, text] = process.argv.slice(2)
const server = createServer(async (request, response) => {
  for await (const part of request) void part
  response.writeHead(200, { "content-type": "text/event-stream" })
  for (const [delta, finish_reason] of [[{ role: "assistant", content: text }, null], [{}, "stop"]]) {
    const chunk = { id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }] }
    response.write(`data: ${JSON.stringify(chunk)}\n\n`)
  }
  response.end("data: [DONE]\n\n")
})
server.listen(0, "127.0.0.1", () => writeFileSync(portFile, String(server.address().port)))
