-- Commands for the jobs of the description in the current buffer.
if vim.g.loaded_actd then
  return
end
vim.g.loaded_actd = 1

local function command(name, run, what, more)
  vim.api.nvim_create_user_command(name, function(given)
    require('actd')[run](given.args ~= '' and given.args or nil)
  end, vim.tbl_extend('force', { desc = what }, more or {}))
end

command('ActdSubmit', 'submit', 'Submit this description, to a group of clusters if one is named', { nargs = '?' })
command('ActdKill', 'kill', 'Kill the jobs of the last submission')
command('ActdFetch', 'fetch', 'Get the results of the last submission')
command('ActdStdout', 'stdout', 'Open the output of the last submission; ActdStdout stderr: its errors', { nargs = '?' })
command('ActdJobs', 'jobs', 'Say how the jobs of the last submission stand')
