-- What is particular to job descriptions, and their language server.
if vim.b.did_ftplugin then
  return
end
vim.b.did_ftplugin = 1
vim.bo.commentstring = '(* %s *)'
vim.bo.comments = 's:(*,e:*)'
vim.bo.iskeyword = '@,48-57,_'
require('actd').attach(vim.api.nvim_get_current_buf())
