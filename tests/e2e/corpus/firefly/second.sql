CREATE DATABASE "Importer history";
