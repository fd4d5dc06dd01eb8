/** The page begins here. */
import { mount } from 'svelte'
import App from './App.svelte'
import './app.css'
import { applyTheme } from './lib/settings/prefs.svelte'

applyTheme()
mount(App, { target: document.getElementById('app')! })
