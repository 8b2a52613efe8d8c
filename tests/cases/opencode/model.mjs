// A model for tests: an OpenAI-compatible server on loopback that does what the user's message says.
//
//	node model.mjs PORT_FILE        writes its port there when it listens; ends with its stdin
//
// The message is JSON: {"steps": [STEP...], "say": TEXT}. One answer of the model a step, then TEXT. A STEP
// is a call {"tool": NAME, "args": {...}}, or a list of calls made at once; "await": PATH in a call
// holds the answer back until that file is there. What else is asked for (a title) is answered with a word.
import { createServer } from "node:http"
import { existsSync, writeFileSync, renameSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"

function textOf(message) {
	if (typeof message.content === "string") return message.content
	return (message.content ?? []).map((part) => part.text ?? "").join("\n")
}

// The script of the last user message that is one, and how many answers of ours stand behind it.
function scriptOf(messages) {
	for (let i = messages.length - 1; i >= 0; i--) {
		if (messages[i].role !== "user") continue
		const text = textOf(messages[i])
		const begin = text.indexOf('{"steps"')
		if (begin < 0) continue
		const script = JSON.parse(text.slice(begin, text.lastIndexOf("}") + 1))
		return { script, done: messages.slice(i).filter((m) => m.role === "assistant").length }
	}
	return null
}

let calls = 0

function toolCalls(step) {
	return step.map((call, index) => ({
		index,
		id: `call_${process.pid}_${++calls}`,
		type: "function",
		function: { name: call.tool, arguments: JSON.stringify(call.args) },
	}))
}

async function deltaFor(request) {
	const found = request.tools?.length ? scriptOf(request.messages) : null
	if (!found) return { delta: { role: "assistant", content: "Scripted" }, reason: "stop" }
	const { script, done } = found
	if (done >= script.steps.length) return { delta: { role: "assistant", content: script.say ?? "done" }, reason: "stop" }
	const step = [script.steps[done]].flat()
	for (const call of step) while (call.await && !existsSync(call.await)) await sleep(20)
	return { delta: { role: "assistant", tool_calls: toolCalls(step) }, reason: "tool_calls" }
}

async function answer(request, response) {
	const chunk = (choice, usage) =>
		response.write(
			`data: ${JSON.stringify({
				id: "x",
				object: "chat.completion.chunk",
				created: 1,
				model: request.model,
				choices: choice ? [{ index: 0, ...choice }] : [],
				usage,
			})}\n\n`,
		)
	response.writeHead(200, { "content-type": "text/event-stream" })
	const { delta, reason } = await deltaFor(request)
	chunk({ delta, finish_reason: null })
	chunk({ delta: {}, finish_reason: reason })
	chunk(null, { prompt_tokens: 10, completion_tokens: 10, total_tokens: 20 })
	response.end("data: [DONE]\n\n")
}

const server = createServer(async (request, response) => {
	try {
		let body = ""
		for await (const part of request) body += part
		await answer(JSON.parse(body), response)
	} catch (error) {
		console.error(`model: ${error.stack}`)
		response.writeHead(500).end(JSON.stringify({ error: { message: String(error) } }))
	}
})
server.listen(0, "127.0.0.1", () => {
	const file = process.argv[2]
	writeFileSync(`${file}.new`, String(server.address().port))
	renameSync(`${file}.new`, file)
})
process.stdin.on("end", () => process.exit(0)).resume()
