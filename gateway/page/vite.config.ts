import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { defineConfig, type Plugin } from 'vite'

const here = import.meta.dirname
const built = join(here, '../src/tritone_gateway/page')
const parts = ['.prettierignore', 'index.html', 'package.json', 'package-lock.json', 'tsconfig.json', 'vite.config.ts']

function below(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

function hashes(root: string, files: string[]): Record<string, string> {
  const named = files.map((file) => [
    relative(root, file).replaceAll('\\', '/'),
    createHash('sha256').update(readFileSync(file)).digest('hex'),
  ])
  return Object.fromEntries(named.sort())
}

/** Says of what the page was built, so that tests without Node notice one that is stale or was changed by hand. */
function manifest(): Plugin {
  return {
    name: 'manifest',
    closeBundle() {
      const sources = hashes(here, [...parts.map((part) => join(here, part)), ...below(join(here, 'src'))])
      const files = hashes(
        built,
        below(built).filter((file) => !file.endsWith('sources.json')),
      )
      writeFileSync(join(built, 'sources.json'), `${JSON.stringify({ sources, built: files }, null, 1)}\n`)
    },
  }
}

export default defineConfig({
  base: './',
  plugins: [manifest()],
  build: {
    outDir: built,
    emptyOutDir: true,
    target: 'es2023',
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
  },
  worker: { format: 'es' },
  server: { proxy: { '/v1': { target: 'http://127.0.0.1:8080', ws: true }, '/ready': 'http://127.0.0.1:8080' } },
})
