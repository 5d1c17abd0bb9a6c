" Job descriptions.
autocmd BufRead,BufNewFile *.xrsl,*.rsl setfiletype xrsl
