" Colours of job descriptions. Newer editors take them from the language server instead.
if exists('b:current_syntax')
  finish
endif
syntax case ignore
syntax match xrslName /(\s*\zs[a-z_]\+\ze\s*[=<>!]/
syntax match xrslOperator /[&|+=<>!#]/
syntax match xrslNumber /\<\d\+\>/
syntax region xrslString start=/"/ skip=/""/ end=/"/
syntax region xrslString start=/'/ skip=/''/ end=/'/
syntax match xrslVariable /\$([^)]*)/
syntax region xrslComment start=/(\*/ end=/\*)/
highlight default link xrslName Identifier
highlight default link xrslOperator Operator
highlight default link xrslNumber Number
highlight default link xrslString String
highlight default link xrslVariable PreProc
highlight default link xrslComment Comment
let b:current_syntax = 'xrsl'
