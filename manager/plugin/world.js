/*
 * Where things are: the registered repositories, the mount, and where a tool should go instead of the path that
 * it was given. Nothing here touches the mount.
 */
import { readFile, readdir, realpath } from "node:fs/promises"
import { basename, dirname, join, relative, resolve, sep } from "node:path"
import { base, inside, readJson, repo, root } from "./base.js"

let known = { at: -Infinity, repos: [] }

// [{id, root, name}], the deepest first. Names that are no UTF-8 cannot come from a model either.
export async function repositories() {
  const now = performance.now()
  if (now - known.at < 1000) return known.repos
  const ids = await readdir(`${base}/repos`).catch(() => [])
  const files = await Promise.all(ids.map((id) => readJson(`${base}/repos/${id}/repo.json`)))
  const repos = files
    .filter((f) => typeof f?.root === "string" && typeof f.name === "string" && !f.root_hex && !f.name_hex)
    .map((f) => ({ id: f.repo_id, root: f.root, name: f.name }))
    .sort((a, b) => b.root.length - a.root.length)
  known = { at: now, repos }
  return repos
}

// Where the mount is; null when it is not up. Never touches it.
async function mountpoint() {
  const m = await readJson(`${base}/mount.json`)
  if (typeof m?.mountpoint !== "string" || m.mountpoint_hex) return null
  const text = await readFile(`/proc/${m.pid}/stat`, "latin1").catch(() => "")
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ")
  return fields[0] !== "Z" && fields[19] === String(m.start_time) ? m.mountpoint : null
}

export async function world() {
  const [repos, mount] = await Promise.all([repositories(), mountpoint()])
  return { repos, mount }
}

// path with its links followed, as far as it exists.
async function followed(path) {
  const rest = []
  for (let at = path; ; at = dirname(at)) {
    try {
      return join(await realpath(at), ...rest.reverse())
    } catch {
      if (at === dirname(at)) return path
      rest.push(basename(at))
    }
  }
}

// {real, owner}: the real place of an absolute path, in the mount or not, and the repository it is in (or undefined).
export async function locate(path, { repos, mount }) {
  let real = path
  if (mount && inside(path, mount)) {
    const [name, ...rest] = path.slice(mount.length + 1).split(sep)
    const shown = repos.find((r) => r.name === name)
    if (!shown) return { real: path, owner: undefined }
    real = join(shown.root, ...rest)
  }
  real = await followed(real)
  return { real, owner: repos.find((r) => inside(real, r.root)) }
}

// ---- what tools are told: paths ----

export const pathArgument = {
  read: "filePath",
  write: "filePath",
  edit: "filePath",
  multiedit: "filePath",
  lsp: "filePath",
  grep: "path",
  glob: "path",
  list: "path",
}
export const patching = new Set(["apply_patch", "patch"])
export const writing = new Set(["write", "edit", "multiedit", ...patching])
const patchHeader = /^(\*\*\* (?:(?:Add|Update|Delete) File|Move to):[ \t]*)(.*?)[ \t]*$/gm

/*
 * Where a tool should go instead of path: the same place in the mount, when it is up and path is in a
 * repository's real tree. An instance that was opened in the real tree keeps its own files there (the user's
 * permissions are patterns relative to it), but not its shell, which may go on to ../other.
 */
async function routed(path, here, w, shell) {
  if (!w.mount || inside(path, w.mount)) return path
  const { real, owner } = await locate(path, w)
  if (!owner || here.denied.has(owner.id)) return path
  const own = inside(real, root)
  if (own && !shell && !inside(here.directory, w.mount)) return path
  const shown = own ? w.repos.find((r) => r.id === repo) : owner
  return shown ? join(w.mount, shown.name, relative(shown.root, real)) : path
}

async function routePatch(text, here, w) {
  const places = new Map()
  for (const [, , path] of text.matchAll(patchHeader)) {
    const absolute = resolve(here.directory, path)
    const to = await routed(absolute, here, w)
    if (to !== absolute) places.set(path, to)
  }
  return text.replace(patchHeader, (line, head, path) => (places.has(path) ? head + places.get(path) : line))
}

// Changes args in place.
export async function route(tool, args, here, w) {
  if (patching.has(tool)) {
    if (typeof args.patchText === "string") args.patchText = await routePatch(args.patchText, here, w)
    return
  }
  const shell = tool === "bash"
  const name = shell ? "workdir" : pathArgument[tool]
  if (!name || (!shell && typeof args[name] !== "string")) return
  const path = resolve(here.directory, typeof args[name] === "string" ? args[name] : "")
  const to = await routed(path, here, w, shell)
  if (to !== path) args[name] = to
}

// Absolute paths of the files that the call will write.
export function written(tool, args, here) {
  if (patching.has(tool) && typeof args.patchText === "string")
    return [...args.patchText.matchAll(patchHeader)].map(([, , path]) => resolve(here.directory, path))
  if (writing.has(tool) && typeof args.filePath === "string") return [resolve(here.directory, args.filePath)]
  return []
}
