-- The language server `actctl lsp` in Neovim 0.7.2 and newer: one client for all job descriptions, code lenses that are
-- read again when jobs change, and commands.
local M = {}

M.config = {
  -- The program and its arguments.
  cmd = { 'actctl', 'lsp' },
  -- More settings of `vim.lsp.start_client`: `on_attach`, `capabilities`, ...
  client = {},
}

-- Called by users who want other settings, before the first description is opened.
function M.setup(settings)
  M.config = vim.tbl_deep_extend('force', M.config, settings or {})
end

local client_id

-- Reads the lenses of a buffer again.
local function refresh(bufnr)
  if not vim.api.nvim_buf_is_loaded(bufnr) then
    return
  end
  if vim.lsp.codelens.enable then
    vim.lsp.codelens.enable(true, { bufnr = bufnr })
  elseif vim.fn.has('nvim-0.10') == 1 then
    vim.lsp.codelens.refresh({ bufnr = bufnr })
  else
    local params = { textDocument = { uri = vim.uri_from_bufnr(bufnr) } }
    vim.lsp.buf_request(bufnr, 'textDocument/codeLens', params, vim.lsp.codelens.on_codelens)
  end
end

-- Has the server carry out a command; `done` gets the result.
local function execute(command, argument, done)
  local client = client_id and vim.lsp.get_client_by_id(client_id)
  if not client then
    vim.notify('actctl lsp does not run', vim.log.levels.ERROR)
    return
  end
  local params = { command = command, arguments = { argument } }
  local function answered(err, result)
    if err then
      vim.notify(err.message or tostring(err), vim.log.levels.ERROR)
    elseif done and result then
      done(result)
    end
  end
  if vim.fn.has('nvim-0.11') == 1 then
    client:request('workspace/executeCommand', params, answered)
  else
    client.request('workspace/executeCommand', params, answered)
  end
end

local function here(more)
  return vim.tbl_extend('force', { uri = vim.uri_from_bufnr(0) }, more or {})
end

local function open(result)
  vim.cmd('split ' .. vim.fn.fnameescape(result.path))
end

function M.submit(group)
  execute('actd.submit', here({ group = group or 'default' }))
end

function M.kill()
  execute('actd.kill', here())
end

function M.fetch()
  execute('actd.fetch', here())
end

function M.stdout(file)
  execute('actd.openStdout', here({ file = file or 'stdout' }), open)
end

function M.jobs()
  execute('actd.showJobs', here())
end

-- Starts the server if it does not run, and gives it a buffer.
function M.attach(bufnr)
  if not client_id or not vim.lsp.get_client_by_id(client_id) then
    local more = vim.deepcopy(M.config.client)
    more.on_attach = nil
    local settings = vim.tbl_deep_extend('force', {
      name = 'actd',
      cmd = M.config.cmd,
      root_dir = vim.fn.getcwd(),
      handlers = {
        -- Jobs have changed: these documents have other lenses now.
        ['$/actd/jobs'] = function(_, result)
          for _, uri in ipairs(result.lenses) do
            refresh(vim.uri_to_bufnr(uri))
          end
        end,
        ['window/showMessage'] = function(_, result)
          vim.notify(result.message, result.type == 2 and vim.log.levels.WARN or vim.log.levels.INFO)
        end,
      },
      -- Lenses run through here, so that what they give is opened and errors are said.
      commands = {
        ['actd.openStdout'] = function(command)
          execute(command.command, command.arguments[1], open)
        end,
      },
      on_exit = function()
        client_id = nil
      end,
      on_attach = function(client, attached)
        refresh(attached)
        if M.config.client.on_attach then
          M.config.client.on_attach(client, attached)
        end
      end,
    }, more)
    for _, name in ipairs({ 'submit', 'kill', 'fetch', 'showJobs' }) do
      settings.commands['actd.' .. name] = settings.commands['actd.' .. name] or function(command)
        execute(command.command, command.arguments[1])
      end
    end
    if vim.fn.has('nvim-0.11') == 1 then
      client_id = vim.lsp.start(settings, { attach = false })
    else
      client_id = vim.lsp.start_client(settings)
    end
  end
  if not client_id then
    return
  end
  vim.lsp.buf_attach_client(bufnr, client_id)
  vim.bo[bufnr].omnifunc = 'v:lua.vim.lsp.omnifunc'
  local group = vim.api.nvim_create_augroup('actd-' .. bufnr, { clear = true })
  vim.api.nvim_create_autocmd({ 'BufEnter', 'InsertLeave', 'BufWritePost' }, {
    group = group,
    buffer = bufnr,
    callback = function()
      local client = client_id and vim.lsp.get_client_by_id(client_id)
      -- It may still be starting.
      if client and client.initialized then
        refresh(bufnr)
      end
    end,
  })
end

return M
