/// <reference types="vitest/config" />
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { svelteTesting } from '@testing-library/svelte/vite'
import { defineConfig, type Plugin } from 'vite'

/** Where `liaoliao serve` answers while the page is being worked on (`npm run dev`). */
const server = process.env['LIAOLIAO_URL'] ?? 'http://127.0.0.1:8000'

/** KaTeX names each font in three formats; every browser that runs this page reads woff2. */
function woff2Only(): Plugin {
  return {
    name: 'woff2-only',
    enforce: 'pre',
    transform(code, id) {
      if (!id.includes('katex') || !id.includes('.css')) return null
      return code.replace(/,\s*url\([^)]*\)\s*format\(["'](?:woff|truetype)["']\)/g, '')
    },
  }
}

export default defineConfig(({ mode }) => ({
  plugins: [svelte(), woff2Only(), ...(mode === 'test' ? [svelteTesting()] : [])],
  build: {
    outDir: 'dist', // build.py puts it into the Python package
    target: 'es2022',
    assetsInlineLimit: 0, // the page's policy allows no data: fonts or scripts
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
  server: {
    proxy: Object.fromEntries(
      ['/api', '/v1'].map((path) => [
        path,
        {
          target: server,
          changeOrigin: true,
          // the server takes changes from its own page only: to it, this one is
          headers: { origin: server },
        },
      ]),
    ),
  },
  test: { environment: 'jsdom', include: ['src/**/*.test.ts'], restoreMocks: true, testTimeout: 60_000 },
}))
