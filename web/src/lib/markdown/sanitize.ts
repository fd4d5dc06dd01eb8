/**
 * HTML -> DOM, with everything left out that our Markdown cannot mean: the second wall after parser.ts.
 *
 *     sanitize('<p onclick="x()">a<script>b</script></p>')  ->  <p>a</p>
 */
import DOMPurify from 'dompurify'

const TAGS =
  'a blockquote br button code del div em h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul'.split(' ')
const ATTRIBUTES = 'aria-label class data-tex href rel start tabindex target title type'.split(' ')

export function sanitize(html: string): DocumentFragment {
  return DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
    ADD_URI_SAFE_ATTR: ['target', 'rel', 'type', 'start', 'tabindex', 'data-tex'],
    RETURN_DOM_FRAGMENT: true,
  })
}
