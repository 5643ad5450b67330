--
-- PostgreSQL database cluster dump
--

\restrict xGhdg2La6alL2NuxtyBIpHnCLTowbrwOUOVeBfCFPtaYhrCbfONW6MWRpaWlPeR

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Roles
--

CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS;

--
-- User Configurations
--








\unrestrict xGhdg2La6alL2NuxtyBIpHnCLTowbrwOUOVeBfCFPtaYhrCbfONW6MWRpaWlPeR

--
-- PostgreSQL database cluster dump complete
--

