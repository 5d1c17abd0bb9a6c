-- Drives a headless Neovim through a user's day with a description; ends with code 0 if all of it worked.
local function fail(what)
  io.stderr:write('nvim: ' .. what .. '\n')
  for _, line in ipairs(vim.api.nvim_buf_get_lines(0, 0, -1, false)) do
    io.stderr:write('  | ' .. line .. '\n')
  end
  local log = io.open(vim.lsp.get_log_path())
  if log then
    io.stderr:write(log:read('*a'))
  end
  vim.cmd('cquit 1')
end

local function wait(what, is_so)
  local ok, good = pcall(vim.wait, 60000, is_so, 50)
  if not ok or not good then
    fail('waited in vain for ' .. what)
  end
  print('ok: ' .. what)
end

local function text()
  return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), '\n')
end

-- The titles of the lenses that are drawn.
local function lenses()
  local shown = {}
  for name, ns in pairs(vim.api.nvim_get_namespaces()) do
    if name:match('codelens') then
      for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, ns, 0, -1, { details = true })) do
        for _, chunk in ipairs(mark[4].virt_text or {}) do
          table.insert(shown, chunk[1])
        end
      end
    end
  end
  return table.concat(shown, '')
end

-- What a person would choose from a list.
local choice
vim.ui.select = function(items, options, chosen)
  for i, item in ipairs(items) do
    local title = options.format_item and options.format_item(item) or tostring(item)
    if title:find(choice, 1, true) then
      return chosen(item, i)
    end
  end
  fail('nothing like ' .. choice .. ' to choose')
end

local said = {}
vim.notify = function(message)
  table.insert(said, message)
end
local function was_said(words)
  return function()
    return table.concat(said, '\n'):find(words, 1, true) ~= nil
  end
end

vim.cmd('edit job.xrsl')
if vim.bo.filetype ~= 'xrsl' then
  fail('the file type is ' .. vim.bo.filetype)
end

wait('the diagnostic', function()
  local found = vim.diagnostic.get(0)
  return #found == 1 and found[1].code == 'E21' and found[1].lnum == 1
end)

choice = 'executable'
vim.api.nvim_win_set_cursor(0, { 2, 3 })
vim.lsp.buf.code_action()
wait('the correction', function()
  return text():find('(executable="/bin/sh")', 1, true) ~= nil
end)
wait('no diagnostic', function()
  return #vim.diagnostic.get(0) == 0
end)

-- As typed: a new line, a parenthesis, the beginning of a word, the keys of completion. Only one word fits.
local keys = vim.api.nvim_replace_termcodes('Go(wallt<C-x><C-o>', true, false, true)
vim.api.nvim_feedkeys(keys, 'nt', false)
local looks = 0
local timer = vim.loop.new_timer()
timer:start(100, 100, vim.schedule_wrap(function()
  looks = looks + 1
  if looks > 600 then
    fail('completion does not come')
  end
  if not timer:is_closing() and vim.api.nvim_get_current_line():find('(walltime=', 1, true) then
    timer:close()
    vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes('<Esc>', true, false, true), 'nt', false)
    vim.schedule(_G.go_on)
  end
end))

function _G.go_on()
  print('ok: completion')
  vim.cmd('undo')
  vim.cmd('write')

  wait('the lens', function()
    return lenses():find('Submit to default', 1, true) ~= nil
  end)
  vim.api.nvim_win_set_cursor(0, { 1, 0 })
  choice = 'Submit to default'
  vim.lsp.codelens.run()
  wait('the word that it is submitted', was_said('Submitted from-nvim (j1) to default'))
  wait('the lens of a job that is under way', function()
    return lenses():find('Last: 1 ', 1, true) ~= nil
  end)
  wait('the lens of a job that is done', function()
    return lenses():find('Last: 1 done', 1, true) ~= nil and lenses():find('Get results', 1, true) ~= nil
  end)
  vim.cmd('ActdStdout')
  wait('its output', function()
    return text() == 'written by the job'
  end)
  vim.cmd('close')
  vim.cmd('ActdFetch')
  wait('its results', was_said('Results are in '))
  vim.cmd('qall!')
end
