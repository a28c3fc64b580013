// Names that a camera or a location table may send, each with what the page must show.

export const HOSTILE = [
  ['<img src=x onerror="alert(1)">', '<img src=x onerror="alert(1)">'],
  ['<script>alert(2)</script>', '<script>alert(2)</script>'],
  ['</li></ol></main><h1>over</h1>', '</li></ol></main><h1>over</h1>'],
  ['مرحبا بالعالم', 'مرحبا بالعالم'],
  ['שלום', 'שלום'],
  ['🚲 family 👨‍👩‍👧', '🚲 family 👨‍👩‍👧'],
  ['tab\there\u0007', 'tab␉here␇'],
  ['\u202egnp.exe', '⟨202E⟩gnp.exe'],
  ['{{constructor.constructor("alert(3)")()}}', '{{constructor.constructor("alert(3)")()}}'],
  ['x'.repeat(256), 'x'.repeat(256)],
];
